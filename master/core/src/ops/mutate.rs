//! Mutations of the namespace: once each, however often they are repeated.

use crc_fast::{CrcAlgorithm, checksum};
use gfs_types::Error;
use gfs_types::ids::{RequestId, RequestSeq};
use gfs_types::marks::{Mark, hit};
use gfs_types::message::client::{Attributes, Entry, Mutation, Response};
use gfs_types::path::{GfsPath, UPLOAD_DIR};
use gfs_types::time::WallTime;

use super::{create, delete, mkdir, rename, set_length, undelete};
use crate::Master;
use crate::codec::Writer;
use crate::master::Step;
use crate::record::{Change, RequestMark, write_attributes};
use crate::sessions::{Admission, EntryFacts, Outcome};

/// What an operation wants.
pub(super) enum Plan {
    /// This change, logged; its outcome is the answer.
    Change(Change),
    /// Nothing: it is already as wanted.
    Nothing(Outcome),
}

impl Master {
    pub(super) fn mutate(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        answered_below: RequestSeq,
        mutation: &Mutation,
    ) -> Result<Response, Error> {
        let mark = RequestMark { id, answered_below, fingerprint: fingerprint(mutation) };
        let admission = self.durable.sessions.admit(&mark)?;
        self.soft.sessions.insert(id.session, step.now);
        let outcome = match admission {
            Admission::Done(outcome) => {
                hit(Mark::RequestAnsweredAgain);
                outcome
            }
            Admission::New => self.carry_out(step, mark, mutation)?,
        };
        self.response(step, mutation, &outcome)
    }

    fn carry_out(
        &mut self,
        step: &mut Step<'_>,
        mark: RequestMark,
        mutation: &Mutation,
    ) -> Result<Outcome, Error> {
        match self.plan(step.wall, mutation)? {
            Plan::Nothing(outcome) => Ok(outcome),
            Plan::Change(change) => {
                self.check_room(mutation)?;
                self.commit(step, Some(mark), change);
                match self.durable.sessions.admit(&mark)? {
                    Admission::Done(outcome) => Ok(outcome),
                    Admission::New => Err(Error::internal("a mutation left no result")),
                }
            }
        }
    }

    /// On a full disk the namespace may shrink and be put in order, not grow.
    fn check_room(&self, mutation: &Mutation) -> Result<(), Error> {
        let room = &self.soft.room;
        match mutation {
            Mutation::Create { .. } | Mutation::Mkdir { .. } => room.may_grow(),
            Mutation::Rename { .. }
            | Mutation::Delete { .. }
            | Mutation::Undelete { .. }
            | Mutation::SetLength { .. } => room.may_log(),
        }
    }

    fn plan(&self, wall: WallTime, mutation: &Mutation) -> Result<Plan, Error> {
        let durable = &self.durable;
        match mutation {
            Mutation::Create { path, replication, attributes } => {
                let default = self.settings.replication;
                let replication = if *replication == 0 { default } else { *replication };
                let dated = dated(attributes_at_first(path, *attributes), wall);
                create::plan(durable, path, replication, dated)
            }
            Mutation::Mkdir { path, parents } => mkdir::plan(durable, path, *parents),
            Mutation::Rename { from, to, replace } => rename::plan(durable, from, to, *replace),
            Mutation::Delete { path, recursive, purge } => {
                delete::plan(durable, path, *recursive, *purge)
            }
            Mutation::Undelete { path } => undelete::plan(durable, path),
            Mutation::SetLength { file, length, attributes } => {
                let attributes = attributes.map(|attributes| dated(attributes, wall));
                set_length::plan(durable, *file, *length, attributes)
            }
        }
    }

    /// The answer; the path, which is not kept with the result, is what the request names.
    fn response(
        &self,
        step: &Step<'_>,
        mutation: &Mutation,
        outcome: &Outcome,
    ) -> Result<Response, Error> {
        let Outcome::Entry(facts) = outcome else { return Ok(Response::Done) };
        let path = match mutation {
            Mutation::Create { path, .. } | Mutation::Undelete { path } => path,
            Mutation::Rename { to, .. } => to,
            _ => return Ok(Response::Done),
        };
        let EntryFacts { id, kind, length, replication, attributes, .. } = *facts;
        let known = self.length_of(step.now, id);
        let (length, length_is_final) = (length.max(known.length), known.length_is_final);
        let chunks = known.chunks;
        let path = GfsPath::parse(path)?.as_str().to_owned();
        let entry =
            Entry { path, id, kind, length, length_is_final, chunks, replication, attributes };
        Ok(Response::Entry(entry))
    }
}

/// An upload is as old as the master sees it: by its age it is collected if it never gets its name. What the original has comes
/// with its length, at the end.
fn attributes_at_first(path: &str, attributes: Attributes) -> Attributes {
    let upload = path.strip_prefix(UPLOAD_DIR).is_some_and(|rest| rest.starts_with('/'));
    let modified = if upload { WallTime::default() } else { attributes.modified };
    Attributes { modified, ..attributes }
}

/// "When the master sees it" becomes a time.
fn dated(attributes: Attributes, wall: WallTime) -> Attributes {
    let modified = if attributes.modified.ms == 0 { wall } else { attributes.modified };
    Attributes { modified, ..attributes }
}

/// A checksum of what is asked.
fn fingerprint(mutation: &Mutation) -> u32 {
    let mut w = Writer::default();
    match mutation {
        Mutation::Create { path, replication, attributes } => {
            w.u8(1);
            w.text(path);
            w.u8(*replication);
            write_attributes(&mut w, attributes);
        }
        Mutation::Mkdir { path, parents } => {
            w.u8(2);
            w.text(path);
            w.bool(*parents);
        }
        Mutation::Rename { from, to, replace } => {
            w.u8(3);
            w.text(from);
            w.text(to);
            w.bool(*replace);
        }
        Mutation::Delete { path, recursive, purge } => {
            w.u8(4);
            w.text(path);
            w.bool(*recursive);
            w.bool(*purge);
        }
        Mutation::Undelete { path } => {
            w.u8(5);
            w.text(path);
        }
        Mutation::SetLength { file, length, attributes } => {
            w.u8(6);
            w.num(file.0);
            w.num(*length);
            if let Some(attributes) = attributes {
                write_attributes(&mut w, attributes);
            }
        }
    }
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, &w.bytes)).unwrap_or_default()
}
