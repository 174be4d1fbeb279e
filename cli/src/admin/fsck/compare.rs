//! All replicas of one chunk, byte by byte.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use gfs_client::{
    BlockChecksums, ChunkLocation, Client, ErrorKind, ReplicaLocation, ReplicaReader,
};
use gfs_types::ids::ChunkHandle;
use tokio::time::sleep;

use super::finding::{Finding, Place};
use crate::failure::Result;
use crate::progress::Progress;

/// How often a chunk that differs is looked at: somebody may write to it.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Bytes read of each replica at once.
const PIECE_BYTES: u64 = 1 << 20;

/// What is wrong with the replicas of a chunk, even when it is looked at again.
pub(super) async fn chunk(
    client: &Client,
    path: &str,
    chunk: ChunkLocation,
    progress: &Progress,
) -> Result<Vec<Finding>> {
    let mut chunk = chunk;
    let mut rotten = Vec::new();
    for look in 1.. {
        let mut findings = look_at(client, path, &chunk, progress).await;
        // A server's own verdict stands, also when the replica is repaired by the next look.
        rotten.extend(findings.extract_if(.., |finding| finding.is_verdict()));
        if findings.is_empty() || look == LOOKS {
            rotten.append(&mut findings);
            return Ok(rotten);
        }
        sleep(LOOK_AGAIN).await;
        match locate_again(client, path, chunk.handle).await? {
            Some(now) => chunk = now,
            // Not of this file any more.
            None => return Ok(rotten),
        }
    }
    Ok(rotten)
}

async fn locate_again(
    client: &Client,
    path: &str,
    handle: ChunkHandle,
) -> Result<Option<ChunkLocation>> {
    match client.locate(path).await {
        Ok(locations) => Ok(locations.chunks.into_iter().find(|chunk| chunk.handle == handle)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One replica of the chunk under comparison.
struct Replica<'a> {
    location: &'a ReplicaLocation,
    reader: ReplicaReader,
}

async fn look_at(
    client: &Client,
    path: &str,
    chunk: &ChunkLocation,
    progress: &Progress,
) -> Vec<Finding> {
    let place = Place::of(path, chunk);
    let replica = |location| Replica { location, reader: client.replica(location) };
    let replicas: Vec<Replica<'_>> = chunk.replicas.iter().map(replica).collect();
    let tables = join_all(
        replicas.iter().map(|replica| replica.reader.checksums(chunk.handle, chunk.version)),
    );
    let mut good: Vec<(&Replica<'_>, BlockChecksums)> = Vec::new();
    let mut findings = Vec::new();
    for (replica, table) in replicas.iter().zip(tables.await) {
        match table {
            Ok(table) => good.push((replica, table)),
            Err(error) => findings.push(unreadable(&place, replica, &error)),
        }
    }
    let tables: Vec<_> = good.iter().map(|(replica, table)| (replica.location, table)).collect();
    findings.extend(differing_tables(&place, &tables));
    let length = good.iter().map(|(_, table)| table.length).max().unwrap_or(0);
    let readers: Vec<&Replica<'_>> = good.iter().map(|(replica, _)| *replica).collect();
    findings.extend(differing_bytes(&place, chunk, &readers, length, progress).await);
    findings
}

/// Lengths and stored checksums, each against those of the first replica.
fn differing_tables(place: &Place, tables: &[(&ReplicaLocation, &BlockChecksums)]) -> Vec<Finding> {
    let Some(((first, expected), others)) = tables.split_first() else { return Vec::new() };
    let mut findings = Vec::new();
    for (location, table) in others {
        let than = &first.address;
        if table.length != expected.length {
            let (has, other) = (table.length, expected.length);
            let detail = format!("{has} bytes, {other} at {than}");
            findings.push(Finding::new(place.clone(), "length differs", detail).at(location));
        } else if let Some(block) = first_difference(&table.blocks, &expected.blocks) {
            let detail = format!("of block {block}, from {than}");
            findings.push(Finding::new(place.clone(), "checksum differs", detail).at(location));
        }
    }
    findings
}

fn first_difference(one: &[u32], other: &[u32]) -> Option<usize> {
    if one.len() != other.len() {
        return Some(one.len().min(other.len()));
    }
    one.iter().zip(other).position(|(a, b)| a != b)
}

/// Reads every replica from front to back; a replica is reported once, at its first wrong place.
async fn differing_bytes(
    place: &Place,
    chunk: &ChunkLocation,
    replicas: &[&Replica<'_>],
    length: u64,
    progress: &Progress,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut replicas = replicas.to_vec();
    let mut offset = 0;
    while offset < length && !replicas.is_empty() {
        let count = PIECE_BYTES.min(length - offset);
        let read = replicas.iter().map(|replica| read_piece(replica, chunk, offset, count));
        let pieces = join_all(read).await;
        let mut expected: Option<(&ReplicaLocation, Bytes)> = None;
        let mut keep = Vec::new();
        for (replica, piece) in replicas.iter().zip(pieces) {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    findings.push(unreadable(place, replica, &error));
                    continue;
                }
            };
            progress.advance(piece.len());
            match &expected {
                None => expected = Some((replica.location, piece)),
                Some((first, bytes)) if *bytes != piece => {
                    findings.push(bytes_differ(place, replica, first, offset, bytes, &piece));
                    continue;
                }
                Some(_) => {}
            }
            keep.push(*replica);
        }
        replicas = keep;
        offset += count;
    }
    findings
}

/// What does not match its checksum is looked at by the server too: a change may have been under way. Its verdict makes the server
/// have the replica repaired.
async fn read_piece(
    replica: &Replica<'_>,
    chunk: &ChunkLocation,
    offset: u64,
    count: u64,
) -> gfs_client::Result<Bytes> {
    let (handle, version) = (chunk.handle, chunk.version);
    match replica.reader.read(handle, version, offset, count).await {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            replica.reader.verify(handle, version, offset, count).await
        }
        read => read,
    }
}

fn bytes_differ(
    place: &Place,
    replica: &Replica<'_>,
    first: &ReplicaLocation,
    offset: u64,
    expected: &[u8],
    found: &[u8],
) -> Finding {
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let at = offset + same as u64;
    let detail = format!("from byte {at} on, from {}", first.address);
    Finding::new(place.clone(), "bytes differ", detail).at(replica.location)
}

fn unreadable(place: &Place, replica: &Replica<'_>, error: &gfs_client::Error) -> Finding {
    let kind = if error.kind() == ErrorKind::Corrupt { "corrupt" } else { "unreadable" };
    Finding::new(place.clone(), kind, error.to_string()).at(replica.location)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::fence::ChunkVersion;
    use gfs_types::ids::{ProcessSession, ServerUid};
    use gfs_types::message::control::ReplicaState;
    use gfs_types::region::ChunkIndex;
    use gfs_types::topology::Topology;

    fn location(port: u16) -> ReplicaLocation {
        ReplicaLocation {
            chunkserver: ServerUid(port.into()),
            session: ProcessSession(1),
            address: format!("127.0.0.1:{port}"),
            topology: Topology::default(),
            version: ChunkVersion(1),
            state: ReplicaState::Clean,
        }
    }

    fn place() -> Place {
        let chunk = ChunkLocation {
            index: ChunkIndex(0),
            handle: ChunkHandle(1),
            version: ChunkVersion(1),
            length: 0,
            primary: None,
            replicas: Vec::new(),
            members: 3,
        };
        Place::of("/f", &chunk)
    }

    #[test]
    fn equal_tables_are_no_finding_and_others_are() {
        let (a, b, c) = (location(1), location(2), location(3));
        let table =
            |length, blocks: &[u32]| BlockChecksums { length, digest: 0, blocks: blocks.to_vec() };
        let good = table(5, &[1, 2]);
        let find = |other: &BlockChecksums| {
            differing_tables(&place(), &[(&a, &good), (&b, &good), (&c, other)])
        };
        assert_eq!(find(&good), []);
        let checksum = find(&table(5, &[1, 3]));
        assert!(checksum.len() == 1 && checksum[0].to_string().contains("block 1"));
        assert!(checksum[0].to_string().contains("127.0.0.1:3"));
        let length = find(&table(6, &[1, 2]));
        assert!(length[0].to_string().contains("6 bytes, 5 at 127.0.0.1:1"));
        assert_eq!(differing_tables(&place(), &[]), []);
    }
}
