//! Segments: their names, their headers, their bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_types::fence::LogPosition;
use gfs_types::ids::ClusterUid;

use super::{OpenError, SEGMENT_BYTES_MAX};
use crate::crc::crc32c;
use crate::fs::{File, Fs, Open};

/// The first frame begins here: the header has its sector for itself and is never written again.
pub(super) const HEADER_BYTES: usize = 512;

const MAGIC: [u8; 4] = *b"GFSL";
const VERSION: u32 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;
const PREFIX: &str = "log-";

/// What stands at the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) cluster_uid: ClusterUid,
    /// Position of the first record.
    pub(super) first: u64,
    /// Length of the file.
    pub(super) segment_bytes: u64,
    /// Checksum of the last frame before this segment; 0 in the first segment of a log.
    pub(super) previous_crc: u32,
    /// Epoch of the last record before this segment.
    pub(super) epoch: u64,
}

impl Header {
    /// The bytes, and their checksum: the seed of the segment's frames.
    pub(super) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.cluster_uid.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.previous_crc.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.epoch.to_le_bytes());
        let crc = crc32c(&[&bytes[..CRC_AT]]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header at the beginning of a segment, and its checksum.
    pub(super) fn decode(
        bytes: &[u8],
        path: &Path,
        cluster_uid: ClusterUid,
    ) -> Result<(Self, u32), OpenError> {
        let bad = || OpenError::BadHeader { path: path.to_owned() };
        let bytes = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(bad)?;
        let crc = crc32c(&[&bytes[..CRC_AT]]);
        if bytes[..4] != MAGIC || bytes[CRC_AT..] != crc.to_le_bytes() {
            return Err(bad());
        }
        let found = u32::from_le_bytes(field(bytes, 4));
        if found > VERSION {
            let path = path.to_owned();
            return Err(OpenError::Newer { path, found, supported: VERSION });
        }
        let header = Self {
            cluster_uid: ClusterUid(u128::from_le_bytes(field(bytes, 8))),
            first: u64::from_le_bytes(field(bytes, 24)),
            segment_bytes: u64::from_le_bytes(field(bytes, 32)),
            previous_crc: u32::from_le_bytes(field(bytes, 40)),
            epoch: u64::from_le_bytes(field(bytes, 48)),
        };
        if header.cluster_uid != cluster_uid {
            return Err(OpenError::ForeignCluster {
                path: path.to_owned(),
                found: header.cluster_uid,
                expected: cluster_uid,
            });
        }
        if header.segment_bytes > SEGMENT_BYTES_MAX || header.first == 0 {
            return Err(bad());
        }
        Ok((header, crc))
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// The file of the segment that begins with this position.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{first:016x}"))
}

/// The first positions of the segments in a directory, ascending. Other files are left alone.
pub(super) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, OpenError> {
    let mut firsts = Vec::new();
    for name in fs.read_dir(dir)? {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let first = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(parse);
        let not = || OpenError::NotASegment { path: dir.join(&name) };
        firsts.push(first.ok_or_else(not)?);
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Sixteen lower-case hexadecimal digits, as [`path`] makes them.
fn parse(digits: &str) -> Option<u64> {
    let first = u64::from_str_radix(digits, 16).ok()?;
    (format!("{first:016x}") == digits).then_some(first)
}

/// A segment that was read: its header and all its bytes.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) header: Header,
    /// Checksum of the header.
    pub(super) seed: u32,
    pub(super) bytes: Vec<u8>,
}

/// Reads a segment and checks all of it but its frames.
pub(super) fn load(
    fs: &dyn Fs,
    dir: &Path,
    first: u64,
    cluster_uid: ClusterUid,
    how: Open,
) -> Result<Loaded, OpenError> {
    let path = path(dir, first);
    let file = fs.open(&path, how)?;
    let (header, seed) = read_header(&*file, &path, cluster_uid)?;
    if header.first != first {
        return Err(OpenError::WrongFirst { path, found: LogPosition(header.first) });
    }
    let (len, expected) = (file.len()?, header.segment_bytes);
    if len != expected {
        return Err(OpenError::CutShort { path, len, expected });
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Loaded { path, file, header, seed, bytes })
}

fn read_header(
    file: &dyn File,
    path: &Path,
    cluster_uid: ClusterUid,
) -> Result<(Header, u32), OpenError> {
    let mut bytes = [0; HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(OpenError::BadHeader { path: path.to_owned() })
        }
        Err(error) => Err(error.into()),
        Ok(()) => Header::decode(&bytes, path, cluster_uid),
    }
}
