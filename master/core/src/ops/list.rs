//! `List`: one page of a directory, in byte order of the names.

use gfs_types::Error;
use gfs_types::ids::ROOT;
use gfs_types::limits::LIST_PAGE_MAX;
use gfs_types::message::client::{EntryKind, Response};
use gfs_types::path::SYSTEM_DIR;
use gfs_types::time::Instant;

use super::{find, parse};
use crate::Master;
use crate::namespace::Node;

impl Master {
    pub(super) fn list(
        &self,
        now: Instant,
        path: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Response, Error> {
        let path = parse(path)?;
        check_limit(limit)?;
        let tree = &self.durable.tree;
        let directory = find(tree, &path)?;
        if tree.get(directory).map(Node::kind) == Some(EntryKind::File) {
            return Err(Error::invalid(format!(
                "`{path}` is a file, not a directory: stat it instead"
            )));
        }
        let hidden = |name: &str| directory == ROOT && SYSTEM_DIR.strip_prefix('/') == Some(name);
        let mut names = tree.children(directory, after).filter(|(name, _)| !hidden(name));
        let entries = names
            .by_ref()
            .take(limit as usize)
            .map(|(name, id)| self.entry(now, id, name))
            .collect::<Result<_, _>>()?;
        let more = names.next().is_some();
        Ok(Response::Page { entries, more })
    }
}

pub(super) fn check_limit(limit: u32) -> Result<(), Error> {
    if (1..=LIST_PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Error::invalid(format!("a page of {limit} entries: ask for 1 to {LIST_PAGE_MAX}")))
}
