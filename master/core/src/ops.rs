//! What clients ask: a module per operation. This one dispatches, and holds what several of them share.

mod create;
mod delete;
mod lease;
mod list;
mod locate;
mod mkdir;
mod mutate;
mod rename;
mod report_corrupt;
mod session;
mod set_length;
mod stat;
mod status;
mod trash;
mod undelete;

pub(crate) use status::Census;

use gfs_types::Error;
use gfs_types::ids::FileId;
use gfs_types::message::client::{Query, Request};
use gfs_types::path::{GfsPath, UPLOAD_DIR};

use crate::Master;
use crate::master::{Caller, Step};
use crate::namespace::{Node, Resolved, Tree};

impl Master {
    pub(crate) fn client(&mut self, step: &mut Step<'_>, from: Caller, request: Request) {
        if request == Request::Query(Query::Status) {
            let status = self.status(step.now);
            return self.reply(step, from, Ok(status));
        }
        if let Err(error) = self.lifecycle.check_serving() {
            return self.reply(step, from, Err(error));
        }
        let result = match request {
            Request::OpenSession => self.open_session(step),
            Request::CloseSession(session) => self.close_session(step, session),
            Request::Query(query) => self.query(step.now, query),
            Request::Mutate { id, answered_below, mutation } => {
                self.mutate(step, id, answered_below, &mutation)
            }
            Request::Lease { file, target, not_version } => {
                return self.lease(step, from, file, target, not_version);
            }
            Request::ReportCorrupt { handle, version, chunkserver, evidence } => {
                self.report_corrupt(step, (handle, version), chunkserver, evidence)
            }
        };
        self.reply(step, from, result);
    }
}

/// Checks a path from a client.
fn parse(path: &str) -> Result<GfsPath, Error> {
    Ok(GfsPath::parse(path)?)
}

/// What a client may create, rename and delete: all but the system's own directory, where it may below `/.gfs/tmp`.
fn check_allowed(path: &GfsPath) -> Result<(), Error> {
    let uploads = path.as_str().strip_prefix(UPLOAD_DIR).is_some_and(|rest| rest.starts_with('/'));
    if path.is_root() {
        return Err(Error::denied("`/` is the root: it cannot be made, renamed or deleted"));
    }
    if path.is_reserved() && !uploads {
        return Err(Error::denied(format!(
            "`{path}` is the system's: choose another path (below {UPLOAD_DIR} is for uploads)"
        )));
    }
    Ok(())
}

/// What stands at a path.
fn find(tree: &Tree, path: &GfsPath) -> Result<FileId, Error> {
    match tree.resolve(path) {
        Resolved::Found(id) => Ok(id),
        Resolved::Missing { names, .. } => Err(missing(path, names)),
        Resolved::ThroughFile { names } => Err(through_file(path, names)),
    }
}

/// The directory a path's last name is to stand in, and whether that name is free.
fn place(tree: &Tree, path: &GfsPath) -> Result<(FileId, Option<FileId>), Error> {
    let all = path.names().count();
    match tree.resolve(path) {
        Resolved::Found(id) => {
            let parent = tree.upwards(id).nth(1).unwrap_or(id);
            Ok((parent, Some(id)))
        }
        Resolved::Missing { directory, names } if names + 1 == all => Ok((directory, None)),
        Resolved::Missing { names, .. } => Err(Error::not_found(format!(
            "`{path}`: its directory `{}` does not exist; make it first",
            prefix(path, names + 1)
        ))),
        Resolved::ThroughFile { names } => Err(through_file(path, names)),
    }
}

fn missing(path: &GfsPath, names: usize) -> Error {
    let there = prefix(path, names + 1);
    if there == path.as_str() {
        return Error::not_found(format!("`{path}` does not exist"));
    }
    Error::not_found(format!("`{path}` does not exist: there is no `{there}`"))
}

fn through_file(path: &GfsPath, names: usize) -> Error {
    Error::invalid(format!(
        "`{path}` cannot be: `{}` is a file, not a directory",
        prefix(path, names)
    ))
}

fn taken(path: &GfsPath, node: Option<Node<'_>>) -> Error {
    let what = match node.and_then(Node::directory) {
        Some(_) => "directory",
        None => "file",
    };
    Error::already_exists(format!("`{path}` exists already, as a {what}"))
}

/// The path of the first `names` names.
fn prefix(path: &GfsPath, names: usize) -> String {
    let names: Vec<&str> = path.names().take(names).collect();
    format!("/{}", names.join("/"))
}

/// No file has this id (any more).
pub(crate) fn no_file(file: FileId) -> Error {
    Error::not_found(format!(
        "there is no file with id {file}: it was deleted; look its path up again"
    ))
}

fn full() -> Error {
    Error::busy("the namespace is full: delete files first")
}
