//! `Trash`: what was deleted and can come back, oldest first.

use gfs_types::Error;
use gfs_types::ids::FileId;
use gfs_types::message::client::{EntryKind, Response, TrashEntry};

use super::list::check_limit;
use crate::Master;
use crate::namespace::{Node, Trashed};

/// Bytes of paths in one page: keeps it below the size of a message.
const PAGE_BYTES: usize = 1 << 20;

impl Master {
    pub(super) fn trash_page(&self, after: Option<FileId>, limit: u32) -> Result<Response, Error> {
        check_limit(limit)?;
        let Some(page) = self.durable.trash.page(after) else {
            return Err(Error::not_found(
                "the entry to go on from is not in the trash any more: list it from the start",
            ));
        };
        let mut page = page.peekable();
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit as usize && bytes < PAGE_BYTES {
            let Some(trashed) = page.next() else { break };
            bytes += trashed.path.len();
            entries.push(self.trash_entry(trashed));
        }
        Ok(Response::Trash { entries, more: page.peek().is_some() })
    }

    fn trash_entry(&self, trashed: &Trashed) -> TrashEntry {
        let kind = self.durable.tree.get(trashed.id).map_or(EntryKind::File, Node::kind);
        let path = trashed.path.to_string();
        TrashEntry { id: trashed.id, path, kind, deleted: trashed.deleted }
    }
}
