//! The stamp of a data directory: six lines of text, the last one the checksum of the others.

use std::fmt;

use gfs_types::ids::{ClusterUid, ServerUid};

use crate::crc::crc32c;

/// The version of the data directory that this program makes, and the newest it understands.
pub const FORMAT_VERSION: u32 = 1;

const TITLE: &str = "gfs data directory";

/// Whose data directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A master, primary or shadow.
    Master,
    /// A chunkserver.
    Chunkserver,
}

impl Role {
    /// The word in the stamp: frozen.
    fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Chunkserver => "chunkserver",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The stamp of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The cluster it belongs to.
    pub cluster_uid: ClusterUid,
    /// Its own identity, made when it was formatted.
    pub own_uid: ServerUid,
    /// Whose it is.
    pub role: Role,
}

/// Why a stamp is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Not what was written.
    #[error("the stamp of the data directory is damaged; restore the file or the whole directory")]
    Damaged,
    /// Written by a newer program.
    #[error(
        "the data directory has format {found}, newer than {FORMAT_VERSION}; run the newer program"
    )]
    Newer {
        /// The version found.
        found: u32,
    },
}

pub(super) fn encode(format: &Format) -> String {
    encode_version(format, FORMAT_VERSION)
}

fn encode_version(format: &Format, version: u32) -> String {
    let Format { cluster_uid, own_uid, role } = format;
    let text = format!(
        "{TITLE}\nversion: {version}\ncluster: {cluster_uid}\nuid: {own_uid}\nrole: {role}\n"
    );
    let crc = crc32c(&[text.as_bytes()]);
    format!("{text}crc32c: {crc:08x}\n")
}

/// Reads a stamp; total, for any bytes.
pub fn decode(bytes: &[u8]) -> Result<Format, StampError> {
    let text = checked(bytes).ok_or(StampError::Damaged)?;
    let version = field(text, "version").and_then(|found| found.parse().ok());
    match version.ok_or(StampError::Damaged)? {
        FORMAT_VERSION => fields(text).ok_or(StampError::Damaged),
        found if found > FORMAT_VERSION => Err(StampError::Newer { found }),
        _ => Err(StampError::Damaged),
    }
}

/// The lines before the checksum, if it is theirs.
fn checked(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let at = text.rfind("crc32c: ")?;
    let (lines, crc) = text.split_at(at);
    let expected = format!("crc32c: {:08x}\n", crc32c(&[lines.as_bytes()]));
    (crc == expected && lines.starts_with(TITLE)).then_some(lines)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn fields(text: &str) -> Option<Format> {
    let role = field(text, "role")?;
    Some(Format {
        cluster_uid: field(text, "cluster")?.parse().ok()?,
        own_uid: field(text, "uid")?.parse().ok()?,
        role: [Role::Master, Role::Chunkserver].into_iter().find(|known| known.word() == role)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format =
        Format { cluster_uid: ClusterUid(7), own_uid: ServerUid(8), role: Role::Chunkserver };

    #[test]
    fn a_stamp_is_text_that_stays_as_it_is() {
        let text = "gfs data directory\nversion: 1\ncluster: 00000000000000000000000000000007\n\
                    uid: 00000000000000000000000000000008\nrole: chunkserver\ncrc32c: ";
        assert!(encode(&FORMAT).starts_with(text), "{}", encode(&FORMAT));
        assert_eq!(decode(encode(&FORMAT).as_bytes()), Ok(FORMAT));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = encode(&FORMAT).into_bytes();
        for at in 0..good.len() {
            assert_eq!(decode(&good[..at]), Err(StampError::Damaged), "cut at {at}");
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(decode(&bad), Err(StampError::Damaged), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let newer = encode_version(&FORMAT, 2);
        assert_eq!(decode(newer.as_bytes()), Err(StampError::Newer { found: 2 }));
    }
}
