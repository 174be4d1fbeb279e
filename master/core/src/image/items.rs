//! The parts of a state in their fixed order, and how each is written.

use gfs_types::fence::{ChunkVersion, LogPosition};
use gfs_types::ids::{ChunkHandle, ServerUid, SessionId};
use gfs_types::message::client::EntryKind;

use super::VERSION;
use super::places::{PLACES, write_places};
use crate::Durable;
use crate::chunks::Chunk;
use crate::codec::Writer;
use crate::namespace::{Coder, Place, Trashed, Tree};
use crate::record::write_attributes;
use crate::sessions::{Outcome, Session};

/// Chunks of a file in one item: bounds its size.
const PIECE: usize = 1000;

/// One part of a state.
pub(super) enum Item<'a> {
    /// A chunk, with the number started above its version, and where it was to be born.
    Chunk(ChunkHandle, Chunk, Option<ChunkVersion>, Option<&'a [ServerUid]>),
    /// The next places of the table of nodes, from one on.
    Places(&'a Tree, u32),
    /// Some chunks of the file at a place, rising.
    Piece(u32, &'a [(u32, ChunkHandle)]),
    /// The next names of the directory at a place.
    Names(u32, Coder),
    Trashed(LogPosition, &'a Trashed),
    Session(SessionId, &'a Session),
}

/// Kinds of items. Frozen.
pub(super) mod kind {
    pub(crate) const CHUNK: u8 = 1;
    pub(crate) const PLACES: u8 = 2;
    pub(crate) const PIECE: u8 = 3;
    pub(crate) const NAMES: u8 = 4;
    pub(crate) const TRASHED: u8 = 5;
    pub(crate) const SESSION: u8 = 6;
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

/// Chunks come before the files that hold them, a file before the pieces of its list, all places before the names.
pub(super) fn all(durable: &Durable) -> impl Iterator<Item = Item<'_>> {
    let chunks = &durable.chunks;
    let every_chunk = chunks.iter().map(|(handle, chunk)| {
        let started = chunks.started(handle).filter(|number| *number > chunk.version);
        Item::Chunk(handle, chunk, started, chunks.unborn(handle))
    });
    let tree = &durable.tree;
    let places = (0..tree.places()).step_by(PLACES as usize).flat_map(move |first| {
        let run = first..tree.places().min(first.saturating_add(PLACES));
        let pieces = run.flat_map(move |place| pieces_at(tree, place));
        std::iter::once(Item::Places(tree, first)).chain(pieces)
    });
    let names = tree.name_blocks().map(|(place, block)| Item::Names(place, block));
    let trash = durable.trash.entries().map(|(position, trashed)| Item::Trashed(position, trashed));
    let sessions = durable.sessions.iter().map(|(id, session)| Item::Session(id, session));
    every_chunk.chain(places).chain(names).chain(trash).chain(sessions)
}

fn pieces_at(tree: &Tree, place: u32) -> impl Iterator<Item = Item<'_>> {
    let file = match tree.place(place) {
        Place::Used(_, node) => node.file(),
        _ => None,
    };
    let pieces = file.into_iter().flat_map(|file| file.chunks.pieces(PIECE));
    pieces.map(move |piece| Item::Piece(place, piece))
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
        Item::Places(tree, first) => write_places(w, tree, *first),
        Item::Piece(place, piece) => {
            w.u8(kind::PIECE);
            w.num(u64::from(*place));
            w.num(piece.len() as u64);
            for (index, handle) in *piece {
                w.num(u64::from(*index));
                w.num(handle.0);
            }
        }
        Item::Names(place, block) => {
            w.u8(kind::NAMES);
            w.num(u64::from(*place));
            w.u8(block.names);
            w.bytes(&block.bytes);
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
