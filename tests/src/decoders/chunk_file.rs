//! A replica's file, through the recovery of a chunkserver's start.
//!
//! Such a file has more than two megabytes of head, nearly all zeros. So an input is the file's length (four bytes,
//! little-endian) and then pieces of it: where (four bytes), how many (two), the bytes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use gfs_chunkserver::store::{Payload, Replica, Store, StoreConfig, StoreError};
use gfs_durable::fs::sim::SimFs;
use gfs_durable::fs::{Fs, Open};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::{ChunkHandle, ClusterUid};
use gfs_types::limits::CHUNK_BYTES_MIN;
use gfs_types::region::ChunkSize;

use super::seal::{over, word};
use super::{Decoder, MemoryBound, Verdict};

/// The file stands on a simulated disk, which keeps all of it three times over; both redo areas are read too.
pub(super) const DECODER: Decoder = Decoder {
    name: "chunk-file",
    run,
    samples,
    memory: MemoryBound { fixed_bytes: 64 << 20, per_byte: 16 },
    mutations: 40,
};

const HANDLE: ChunkHandle = ChunkHandle(0x0123_4567_89ab_cdef);
const FINE: &str = "the simulated disk is fine";

/// Where things stand (docs/formats/chunk-file.md).
const SLOT_COPIES: [usize; 4] = [0, 2048, 4096, 6144];
const ENDS_AT: usize = 8 << 10;
const REDOS_AT: [usize; 2] = [64 << 10, (64 << 10) + (1 << 20) + (64 << 10)];
const FILE_BYTES_MAX: usize = (2 << 20) + (192 << 10) + (256 << 10);

fn run(bytes: &[u8]) -> Verdict {
    let mut file = unpack(bytes);
    let raw = one(&file);
    seal(&mut file);
    raw.or(one(&file))
}

/// Headers, ends and redo records that are there get the checksums of what they say.
fn seal(file: &mut [u8]) {
    let is = |file: &[u8], at: usize, magic: &[u8]| file.get(at..at + 4) == Some(magic);
    for at in SLOT_COPIES {
        if is(file, at, b"GFSC") {
            over(file, at, at + 124, at + 124);
        }
    }
    for at in (0..64).map(|end| ENDS_AT + 64 * end) {
        if is(file, at, b"GFSE") {
            over(file, at + 8, at + 36, at + 4);
        }
    }
    for at in REDOS_AT {
        if is(file, at, b"GFSR") {
            let length = word(file, at + 40).map_or(0, |length| length as usize);
            over(file, at + 4096, at + 4096 + length, at + 52);
            over(file, at + 8, at + 4096, at + 4);
        }
    }
}

/// Recovers the file, reads all of the replica, and starts a second time: that must find what the first one left.
fn one(file: &[u8]) -> Verdict {
    let fs = SimFs::new(1);
    let folder = PathBuf::from("/data/chunks/cd");
    fs.create_dir_all(&folder).expect(FINE);
    let there = fs.open(&folder.join(format!("{HANDLE}.chunk")), Open::Create).expect(FINE);
    there.write_all_at(file, 0).expect(FINE);
    let Some((store, first)) = open(&fs) else { return Verdict::Refused };
    let good = first.damaged.is_none();
    if good {
        read_all(&store, &first);
    }
    drop(store);
    let (_, second) = open(&fs).expect("a file that was recovered is there at the next start");
    assert_eq!(second, first, "two starts find the same");
    Verdict::of(good)
}

/// The one replica, unless its file was refused.
fn open(fs: &SimFs) -> Option<(Store, Replica)> {
    let (store, mut found) = Store::open(Arc::new(fs.clone()), config()).ok()?;
    let replica = found.pop().expect("a file with the name of a chunk is found").replica.ok()?;
    Some((store, replica))
}

/// What a clean replica holds is not looked at in a start, so a block may be damaged; its bytes are never given out.
fn read_all(store: &Store, replica: &Replica) {
    let length = replica.length;
    assert!(replica.committed_length <= length);
    let read = (length > 0).then(|| store.read_verified(HANDLE, 0..length, length));
    match read {
        Some(Ok(bytes)) => {
            let sums = store.checksums(HANDLE).expect("what was read has checksums");
            assert_eq!(sums.table, gfs_protocol::checksum::blocks(0, &bytes));
        }
        Some(Err(error)) => assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
        None => {}
    }
}

fn config() -> StoreConfig {
    StoreConfig {
        dir: PathBuf::from("/data"),
        cluster: ClusterUid(7),
        chunk_size: ChunkSize::new(CHUNK_BYTES_MIN).expect("the smallest size is a size"),
        server: "cs1".to_owned(),
        boot: 1,
        reserve_bytes: 0,
        preallocate: false,
        open_threads: 1,
    }
}

/// Replicas as they are left behind: new, written, overwritten, padded, clean, with a new version.
fn samples() -> Vec<Vec<u8>> {
    let fs = SimFs::new(1);
    let (store, _) = Store::open(Arc::new(fs.clone()), config()).expect(FINE);
    let path = PathBuf::from(format!("/data/chunks/cd/{HANDLE}.chunk"));
    let look = || pack(&fs.read(&path, FILE_BYTES_MAX as u64).expect(FINE));
    let write = |offset: u64, count: usize, byte: u8| {
        let data = Payload::compute(Bytes::from(vec![byte; count]), offset);
        store.write(HANDLE, offset, &data).expect(FINE);
    };
    store.create(HANDLE, ChunkVersion(1)).expect(FINE);
    let mut samples = vec![look()];
    write(0, 100, 1);
    samples.push(look());
    store.flush(HANDLE, 90).expect(FINE);
    store.pad(HANDLE, 70_000).expect(FINE);
    samples.push(look());
    write(65_530, 20, 2);
    write(10, 5, 3);
    samples.push(look());
    store.set_version(HANDLE, ChunkVersion(2)).expect(FINE);
    store.mark_clean(HANDLE, 70_000).expect(FINE);
    samples.push(look());
    samples
}

/// The file that an input stands for. What does not fit into it is left out.
fn unpack(input: &[u8]) -> Vec<u8> {
    let Some((length, mut rest)) = input.split_first_chunk::<4>() else { return Vec::new() };
    let length = (u32::from_le_bytes(*length) as usize).min(FILE_BYTES_MAX);
    let mut file = vec![0; length];
    while let Some((head, after)) = rest.split_first_chunk::<6>() {
        let at = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let count = usize::from(u16::from_le_bytes([head[4], head[5]])).min(after.len());
        let (bytes, next) = after.split_at(count);
        if let Some(place) = file.get_mut(at..at + count) {
            place.copy_from_slice(bytes);
        }
        rest = next;
    }
    file
}

/// The input for a file: its sectors of 64 bytes that are not zeros.
fn pack(file: &[u8]) -> Vec<u8> {
    const SECTOR: usize = 64;
    let narrow = |number: usize| u32::try_from(number).expect("a sample is small").to_le_bytes();
    let mut input = narrow(file.len()).to_vec();
    for (number, sector) in file.chunks(SECTOR).enumerate() {
        if let Some(last) = sector.iter().rposition(|byte| *byte != 0) {
            input.extend_from_slice(&narrow(number * SECTOR));
            input.extend_from_slice(&narrow(last + 1)[..2]);
            input.extend_from_slice(&sector[..=last]);
        }
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_packed_comes_out_as_it_was() {
        let mut file = vec![0; 5000];
        (file[0], file[130], file[4999]) = (1, 2, 3);
        assert_eq!(unpack(&pack(&file)), file);
        assert_eq!(unpack(&[0xff; 4]).len(), FILE_BYTES_MAX);
    }
}
