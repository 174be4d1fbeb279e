//! The 128 bytes every frame begins with. All numbers are little-endian; the layout is frozen.
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `GFSD` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | operation |
//! | 6 | 2 | flags: bit 0 = reply |
//! | 8 | 8 | request id |
//! | 16 | 8 | chunk handle |
//! | 24 | 8 | chunk version |
//! | 32 | 8 | master epoch |
//! | 40 | 8 | offset in the chunk |
//! | 48 | 4 | payload bytes |
//! | 52 | 2 | number of block checksums |
//! | 54 | 2 | bytes of the operation-specific part |
//! | 56 | 4 | time the sender still waits, in ms |
//! | 60 | 4 | CRC-32C of the header with this field zero |
//! | 64 | 48 | capability, zero for now |
//! | 112 | 4 | CRC-32C of the operation-specific part and the block checksums |
//! | 116 | 12 | reserved, zero |

use gfs_types::limits::{FRAME_BYTES_MAX, FRAME_EXTRA_BYTES_MAX};

use super::FrameError;
use crate::checksum::{count, crc32c};

pub(super) const MAGIC: [u8; 4] = *b"GFSD";
pub(super) const VERSION: u8 = 1;
const FLAG_REPLY: u16 = 1;

/// What a frame asks or answers. The numbers are on the wire: frozen. 12 was another one; it is not given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is described at its namesake in gfs_types::message::data")]
pub enum Op {
    Hello = 1,
    Push = 2,
    Write = 3,
    Append = 4,
    Order = 5,
    Sync = 6,
    Read = 7,
    Verify = 8,
    Inspect = 9,
    Checksums = 10,
    Committed = 11,
    Equalise = 13,
    Compare = 14,
    Copy = 15,
}

impl Op {
    /// Every operation, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Hello,
        Self::Push,
        Self::Write,
        Self::Append,
        Self::Order,
        Self::Sync,
        Self::Read,
        Self::Verify,
        Self::Inspect,
        Self::Checksums,
        Self::Committed,
        Self::Equalise,
        Self::Compare,
        Self::Copy,
    ];

    fn from_wire(number: u8) -> Result<Self, FrameError> {
        Self::ALL.into_iter().find(|op| *op as u8 == number).ok_or(FrameError::Op(number))
    }
}

/// The first 128 bytes of a frame, decoded and within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it asks or answers.
    pub op: Op,
    /// An answer, not a request.
    pub reply: bool,
    /// Chosen by the asker, unique among its requests in flight on the connection.
    pub request: u64,
    /// The chunk, or 0.
    pub handle: u64,
    /// The chunk version the sender knows, or 0.
    pub version: u64,
    /// The master epoch the sender knows, or 0.
    pub epoch: u64,
    /// In the chunk, in bytes.
    pub offset: u64,
    /// Bytes of payload behind the head.
    pub payload_bytes: u32,
    /// How many block checksums.
    pub checksums: u16,
    /// Bytes of the operation-specific part.
    pub extra_bytes: u16,
    /// How long the sender still waits, in milliseconds.
    pub left_ms: u32,
    /// CRC-32C of what stands between header and payload.
    pub tail_checksum: u32,
}

impl Header {
    /// Its size.
    pub const BYTES: usize = 128;

    /// Bytes between header and payload.
    #[must_use]
    pub const fn tail_bytes(&self) -> usize {
        self.extra_bytes as usize + 4 * self.checksums as usize
    }

    /// As it travels.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(4, &[VERSION, self.op as u8]);
        put(6, &(if self.reply { FLAG_REPLY } else { 0 }).to_le_bytes());
        put(8, &self.request.to_le_bytes());
        put(16, &self.handle.to_le_bytes());
        put(24, &self.version.to_le_bytes());
        put(32, &self.epoch.to_le_bytes());
        put(40, &self.offset.to_le_bytes());
        put(48, &self.payload_bytes.to_le_bytes());
        put(52, &self.checksums.to_le_bytes());
        put(54, &self.extra_bytes.to_le_bytes());
        put(56, &self.left_ms.to_le_bytes());
        put(112, &self.tail_checksum.to_le_bytes());
        let checksum = crc32c(&bytes);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Checks and takes apart.
    ///
    /// # Errors
    /// What is wrong with the bytes; after that the connection cannot go on.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, FrameError> {
        let magic = array(bytes, 0);
        if magic != MAGIC {
            return Err(FrameError::Magic(magic));
        }
        if bytes[4] != VERSION {
            return Err(FrameError::Version(bytes[4]));
        }
        let mut zeroed = *bytes;
        zeroed[60..64].fill(0);
        if crc32c(&zeroed) != u32::from_le_bytes(array(bytes, 60)) {
            return Err(FrameError::Checksum { part: "header" });
        }
        let header = Self {
            op: Op::from_wire(bytes[5])?,
            reply: u16::from_le_bytes(array(bytes, 6)) & FLAG_REPLY != 0,
            request: u64::from_le_bytes(array(bytes, 8)),
            handle: u64::from_le_bytes(array(bytes, 16)),
            version: u64::from_le_bytes(array(bytes, 24)),
            epoch: u64::from_le_bytes(array(bytes, 32)),
            offset: u64::from_le_bytes(array(bytes, 40)),
            payload_bytes: u32::from_le_bytes(array(bytes, 48)),
            checksums: u16::from_le_bytes(array(bytes, 52)),
            extra_bytes: u16::from_le_bytes(array(bytes, 54)),
            left_ms: u32::from_le_bytes(array(bytes, 56)),
            tail_checksum: u32::from_le_bytes(array(bytes, 112)),
        };
        header.check_limits()?;
        Ok(header)
    }

    pub(super) fn check_limits(&self) -> Result<(), FrameError> {
        let within = |what, value: u64, max: u64| {
            if value > max { Err(FrameError::TooLong { what, value, max }) } else { Ok(()) }
        };
        within("payload", u64::from(self.payload_bytes), FRAME_BYTES_MAX)?;
        within(
            "operation-specific part",
            u64::from(self.extra_bytes),
            FRAME_EXTRA_BYTES_MAX as u64,
        )?;
        let (bytes, offset) = (self.payload_bytes, self.offset);
        let aligned = count(offset, u64::from(bytes));
        // One checksum over just the payload is allowed where the range lies within a block or straddles a border
        // (a read below a block's size, see `DataResponse::Bytes::own_checksum`).
        let fits = u64::from(self.checksums) == aligned
            || (bytes > 0 && self.checksums == 1 && self.reply);
        if fits {
            Ok(())
        } else {
            Err(FrameError::ChecksumCount { count: self.checksums, bytes, offset })
        }
    }
}

fn array<const N: usize>(bytes: &[u8; Header::BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
