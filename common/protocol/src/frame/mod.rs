//! The raw TCP frames of the data plane: a header of 128 bytes, an operation-specific part (protobuf),
//! one CRC-32C for each 64 KiB block the payload touches, then the payload.
//!
//! A frame is read in two steps: [`Header::decode`] on its first 128 bytes says how long the second part is,
//! [`Head::decode`] on header and second part gives the message. The payload is left to the caller, who checks
//! each block as it arrives. Nothing is allocated before a length was checked against its limit.

pub mod blocking;
mod extra;
mod head;
mod header;

pub use head::{
    Head, ReplyHead, RequestHead, encode_hello, encode_hello_reply, encode_reply, encode_request,
    offset_of, op_of,
};
pub use header::{Header, Op};

/// Bytes that are no frame, or a frame that breaks a limit. The connection cannot go on: framing is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Something else speaks on this port, or framing was lost.
    #[error("not a GFS data frame: it begins with {0:02x?}")]
    Magic([u8; 4]),
    /// A peer of another time.
    #[error("data frame of format version {0}; this server speaks version {version}", version = header::VERSION)]
    Version(u8),
    /// Changed on the way.
    #[error("data frame {part} does not match its checksum")]
    Checksum {
        /// Which part.
        part: &'static str,
    },
    /// An operation nobody knows.
    #[error("data frame with the unknown operation {0}")]
    Op(u8),
    /// A length that breaks its limit.
    #[error("data frame with a {what} of {value}; at most {max} is allowed")]
    TooLong {
        /// Which length.
        what: &'static str,
        /// What the frame says.
        value: u64,
        /// The limit.
        max: u64,
    },
    /// A number of checksums that does not fit the payload.
    #[error("data frame with {count} checksums for {bytes} bytes at offset {offset}")]
    ChecksumCount {
        /// What the frame says.
        count: u16,
        /// Bytes of payload.
        bytes: u32,
        /// Where in the chunk.
        offset: u64,
    },
    /// The second part is shorter or longer than the header says.
    #[error("data frame cut: {got} bytes behind the header, {want} expected")]
    Cut {
        /// Bytes there.
        got: usize,
        /// Bytes announced.
        want: usize,
    },
    /// The operation-specific part is not what the operation needs.
    #[error("data frame {op:?}: {reason}")]
    Extra {
        /// Which operation.
        op: Op,
        /// What is wrong.
        reason: String,
    },
}

impl From<FrameError> for gfs_types::Error {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Checksum { .. } | FrameError::Cut { .. } => {
                Self::corrupt(error.to_string())
            }
            _ => Self::invalid(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
