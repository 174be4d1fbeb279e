//! Why a stream of sections is refused.

use std::io;

/// Why a stream of sections is refused.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The head is not one of this format, or is damaged.
    #[error("the head of the stream is damaged, or it is none of ours")]
    BadHead,
    /// The stream holds something else.
    #[error("the stream holds {found:?}, not {expected:?}")]
    OtherKind {
        /// The name found.
        found: String,
        /// The name looked for.
        expected: String,
    },
    /// Written by a newer program.
    #[error("the stream has version {found}, newer than {supported}; run the newer program")]
    Newer {
        /// The version found.
        found: u32,
        /// The newest this program reads.
        supported: u32,
    },
    /// The stream ends before its trailer.
    #[error("the stream is cut off in the section at byte {offset}")]
    Cut {
        /// Where the unfinished section begins.
        offset: u64,
    },
    /// A section longer than allowed.
    #[error("the section at byte {offset} claims {length} bytes, at most {length_max} are allowed")]
    TooLong {
        /// Where the section begins.
        offset: u64,
        /// What it claims.
        length: u32,
        /// What is allowed.
        length_max: u32,
    },
    /// A section does not have the checksum it says.
    #[error("the section at byte {offset} is damaged")]
    Damaged {
        /// Where the section begins.
        offset: u64,
    },
    /// The trailer disagrees with what was read.
    #[error("the trailer at byte {offset} disagrees with the sections before it")]
    Disagrees {
        /// Where the trailer begins.
        offset: u64,
    },
    /// Bytes after the trailer.
    #[error("bytes follow the trailer, at byte {offset}")]
    TooMuch {
        /// Where the stream should have ended.
        offset: u64,
    },
}
