//! The parts of a state in their fixed order, and how each is written.

use gfs_types::fence::{ChunkVersion, LogPosition};
use gfs_types::ids::{ChunkHandle, ServerUid, SessionId};
use gfs_types::message::client::EntryKind;

use super::VERSION;
use crate::Durable;
use crate::chunks::Chunk;
use crate::codec::Writer;
use crate::namespace::{Node, NodeBody, Slot, Trashed};
use crate::record::write_attributes;
use crate::sessions::{Outcome, Session};

/// Chunks of a file in one item: bounds its size.
const PIECE: usize = 1000;

/// One part of a state.
pub(super) enum Item<'a> {
    /// A chunk, with the number started above its version, and where it was to be born.
    Chunk(ChunkHandle, &'a Chunk, Option<ChunkVersion>, Option<&'a [ServerUid]>),
    /// The next place of the table of nodes.
    Slot(&'a Slot),
    /// Some chunks of the file at a place, rising.
    Piece(u32, &'a [(u32, ChunkHandle)]),
    Trashed(LogPosition, &'a Trashed),
    Session(SessionId, &'a Session),
}

/// Kinds of items. Frozen.
pub(super) mod kind {
    pub(crate) const CHUNK: u8 = 1;
    pub(crate) const FREE: u8 = 2;
    pub(crate) const RETIRED: u8 = 3;
    pub(crate) const FILE: u8 = 4;
    pub(crate) const DIRECTORY: u8 = 5;
    pub(crate) const PIECE: u8 = 6;
    pub(crate) const TRASHED: u8 = 7;
    pub(crate) const SESSION: u8 = 8;
}

pub(super) fn write_head(w: &mut Writer, durable: &Durable) {
    w.u8(VERSION);
    w.num(durable.position.0);
    w.num(durable.epoch.0);
    w.num(durable.master_session.0);
    w.bool(durable.format.is_some());
    if let Some((cluster, chunk_size)) = durable.format {
        w.u128(cluster.0);
        w.num(chunk_size.bytes());
    }
    w.num(durable.chunks.last().0);
    w.u8(durable.chunks.most_members());
}

/// Chunks come before the files that hold them, a file before the pieces of its list.
pub(super) fn all(durable: &Durable) -> impl Iterator<Item = Item<'_>> {
    let chunks = &durable.chunks;
    let every_chunk = chunks.iter().map(|(handle, chunk)| {
        let started = chunks.started(handle).filter(|number| *number > chunk.version);
        Item::Chunk(handle, chunk, started, chunks.unborn(handle))
    });
    let every_slot = (0_u32..).zip(durable.tree.slots()).flat_map(|(place, slot)| {
        let file = match slot {
            Slot::Used(Node { body: NodeBody::File(file), .. }) => Some(file),
            _ => None,
        };
        let pieces = file.into_iter().flat_map(|file| file.chunks.pieces(PIECE));
        let pieces = pieces.map(move |piece| Item::Piece(place, piece));
        std::iter::once(Item::Slot(slot)).chain(pieces)
    });
    let trash = durable.trash.entries().map(|(position, trashed)| Item::Trashed(position, trashed));
    let sessions = durable.sessions.iter().map(|(id, session)| Item::Session(id, session));
    every_chunk.chain(every_slot).chain(trash).chain(sessions)
}

pub(super) fn write(w: &mut Writer, item: &Item<'_>) {
    match item {
        Item::Chunk(handle, chunk, started, unborn) => {
            w.u8(kind::CHUNK);
            w.num(handle.0);
            w.num(chunk.version.0);
            w.u8(chunk.members);
            w.u8(chunk.goal);
            w.num(started.map_or(0, |number| number.0));
            let unborn = unborn.unwrap_or_default();
            w.num(unborn.len() as u64);
            unborn.iter().for_each(|member| w.u128(member.0));
        }
        Item::Slot(slot) => write_slot(w, slot),
        Item::Piece(place, piece) => {
            w.u8(kind::PIECE);
            w.num(u64::from(*place));
            w.num(piece.len() as u64);
            for (index, handle) in *piece {
                w.num(u64::from(*index));
                w.num(handle.0);
            }
        }
        Item::Trashed(position, trashed) => {
            w.u8(kind::TRASHED);
            w.num(position.0);
            w.num(trashed.id.0);
            w.num(trashed.deleted.ms);
            w.bool(trashed.purge);
            w.text(&trashed.path);
        }
        Item::Session(id, session) => write_session(w, *id, session),
    }
}

fn write_slot(w: &mut Writer, slot: &Slot) {
    let node = match slot {
        Slot::Free(generation) => {
            w.u8(kind::FREE);
            return w.num(u64::from(*generation));
        }
        Slot::Retired => return w.u8(kind::RETIRED),
        Slot::Used(node) => node,
    };
    w.u8(match node.kind() {
        EntryKind::File => kind::FILE,
        EntryKind::Directory => kind::DIRECTORY,
    });
    w.num(u64::from(node.generation));
    w.num(u64::from(node.parent));
    w.text(&node.name);
    if let Some(file) = node.file() {
        w.num(file.length);
        w.u8(file.replication);
        write_attributes(w, &file.attributes);
    }
}

fn write_session(w: &mut Writer, id: SessionId, session: &Session) {
    w.u8(kind::SESSION);
    w.u64(id.0);
    w.num(session.answered_below.0);
    w.num(session.results.len() as u64);
    for (seq, remembered) in &session.results {
        w.num(seq.0);
        w.u32(remembered.fingerprint);
        match remembered.outcome {
            Outcome::Done => w.u8(0),
            Outcome::Entry(facts) => {
                w.u8(match facts.kind {
                    EntryKind::File => 1,
                    EntryKind::Directory => 2,
                });
                w.num(facts.id.0);
                w.num(facts.length);
                w.num(facts.chunks);
                w.u8(facts.replication);
                write_attributes(w, &facts.attributes);
            }
        }
    }
}
