//! The places of the table of nodes: what each is, without its name.

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::Attributes;
use gfs_types::time::WallTime;

use super::items::kind;
use crate::codec::{CodecError, Reader, Writer};
use crate::namespace::{File, FileNode, Node, Place, Tree};

/// Places in one item: bounds its size.
pub(super) const PLACES: u32 = 1024;

// The bits of the first byte of a place. Frozen.
/// Two bits: what it is.
const USE: u8 = 0b11;
const RETIRED: u8 = 0;
const FREE: u8 = 1;
const DIRECTORY: u8 = 2;
const FILE: u8 = 3;
const EXECUTABLE: u8 = 1 << 2;
/// Three bits from here on.
const REPLICATION: u32 = 3;
/// A generation that is not 0 follows.
const GENERATION: u8 = 1 << 6;
/// The chunk of index 0, the only one, follows.
const CHUNK: u8 = 1 << 7;

/// Times and handles are near those of the file before: what follows is the difference.
#[derive(Default)]
pub(super) struct Near {
    modified: u64,
    handle: u64,
}

/// What was read of a place; of a file, the chunk that is its only one and first.
pub(super) enum Told {
    Retired,
    Free(u32),
    Directory(u32),
    File(u32, FileNode, Option<ChunkHandle>),
}

pub(super) fn write_places(w: &mut Writer, tree: &Tree, first: u32) {
    let count = PLACES.min(tree.places() - first);
    w.u8(kind::PLACES);
    w.num(u64::from(count));
    let mut near = Near::default();
    for number in first..first + count {
        match tree.place(number) {
            Place::Retired => w.u8(RETIRED),
            Place::Free(generation) => write_use(w, FREE, generation),
            Place::Used(generation, Node::Directory(_)) => {
                write_use(w, DIRECTORY, generation);
            }
            Place::Used(generation, Node::File(file)) => {
                write_file(w, generation, file, &mut near);
            }
        }
    }
}

fn write_use(w: &mut Writer, first: u8, generation: u32) {
    if generation == 0 {
        return w.u8(first);
    }
    w.u8(first | GENERATION);
    w.num(u64::from(generation));
}

fn write_file(w: &mut Writer, generation: u32, file: File<'_>, near: &mut Near) {
    let chunk = file.chunks.only_at_0().flatten();
    let executable = if file.attributes.executable { EXECUTABLE } else { 0 };
    let has_chunk = if chunk.is_some() { CHUNK } else { 0 };
    let replication = file.replication << REPLICATION;
    write_use(w, FILE | executable | has_chunk | replication, generation);
    w.num(file.length);
    w.step(near.modified, file.attributes.modified.ms);
    near.modified = file.attributes.modified.ms;
    if let Some(chunk) = chunk {
        w.step(near.handle, chunk.0);
        near.handle = chunk.0;
    }
}

pub(super) fn read_place(r: &mut Reader<'_>, near: &mut Near) -> Result<Told, CodecError> {
    let first = r.u8()?;
    let generation = match first & GENERATION {
        0 => 0,
        _ => match r.u32_num()? {
            0 => return Err(CodecError::Value { what: "a generation that follows", value: 0 }),
            generation => generation,
        },
    };
    let plain = first & !GENERATION;
    match first & USE {
        FILE => {
            let (file, handle) = read_file(r, first, near)?;
            Ok(Told::File(generation, file, handle))
        }
        RETIRED if first == RETIRED => Ok(Told::Retired),
        FREE if plain == FREE => Ok(Told::Free(generation)),
        DIRECTORY if plain == DIRECTORY => Ok(Told::Directory(generation)),
        _ => Err(CodecError::Value { what: "a place", value: first.into() }),
    }
}

fn read_file(
    r: &mut Reader<'_>,
    first: u8,
    near: &mut Near,
) -> Result<(FileNode, Option<ChunkHandle>), CodecError> {
    let replication = first >> REPLICATION & 7;
    if replication == 0 {
        return Err(CodecError::Value { what: "replication", value: 0 });
    }
    let length = r.num()?;
    near.modified = r.step(near.modified)?;
    let handle = match first & CHUNK {
        0 => None,
        _ => {
            near.handle = r.step(near.handle)?;
            Some(ChunkHandle(near.handle))
        }
    };
    let attributes = Attributes {
        modified: WallTime { ms: near.modified },
        executable: first & EXECUTABLE != 0,
    };
    Ok((FileNode { length, attributes, replication, ..FileNode::default() }, handle))
}
