//! Every decoder of bytes that somebody else wrote: a peer, a disk, a person.
//!
//! One list, [`ALL`], that three things go through: the fuzz targets in `fuzz/`, their corpus as a plain test
//! (`tests/corpus.rs`), and the bound on memory (`tests/decoder_memory.rs`). A decoder that is not in it is not tested
//! against bad input, so a new format comes with a line here.
//!
//! Each entry takes any bytes and must return. Where there is an encoder, it also asserts that what was decoded
//! is encoded and decoded again to the same. Bytes behind a checksum are tried twice: as they are, and
//! with the checksums made right, so that what lies behind is reached.

mod chunk_file;
mod config;
mod disk;
mod frames;
mod master;
pub mod mutate;
mod records;
mod seal;
mod text;
mod wire;
mod wire_samples;

/// What became of some bytes. Both are fine; a panic is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They say something.
    Accepted,
    /// They were refused with an error.
    Refused,
}

impl Verdict {
    fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }

    /// Accepted if either is.
    fn or(self, other: Self) -> Self {
        Self::of(self == Self::Accepted || other == Self::Accepted)
    }
}

/// The memory that decoding may take at once, all the checks around it counted.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBound {
    /// Whatever the input.
    pub fixed_bytes: usize,
    /// For each byte of the input.
    pub per_byte: usize,
}

/// One decoder.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Names its fuzz target and the folder of its corpus.
    pub name: &'static str,
    /// Decodes, checks what came out, and returns: never panics, whatever the bytes.
    pub run: fn(&[u8]) -> Verdict,
    /// Good bytes of realistic values: what the corpus begins with.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// What it may allocate.
    pub memory: MemoryBound,
    /// How many changed inputs, and at most how many cuts, the corpus test makes of each file: fewer where it is slow.
    pub mutations: usize,
}

/// Every decoder, by name.
pub const ALL: &[Decoder] = &[
    master::CHECKPOINT,
    chunk_file::DECODER,
    wire::CHUNKSERVER_MESSAGE,
    wire::CLIENT_HELLO,
    wire::CLIENT_REPLY,
    wire::CLIENT_REQUEST,
    wire::CLIENT_WELCOME,
    wire::COMMAND,
    config::CHUNKSERVER,
    config::MASTER,
    disk::CONFIG_RECORD,
    frames::DECODER,
    disk::FRAMED_STREAM,
    text::ID,
    master::LOG_RECORD,
    disk::LOG_SEGMENT,
    disk::MASTER_SEEN,
    text::PATH,
    records::DECODER,
    master::REPLAY,
    disk::SLOTS,
    disk::STAMP,
    wire::STATUS,
    text::TOPOLOGY,
    text::UNIT,
];

/// The decoder of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> &'static Decoder {
    let found = ALL.iter().find(|decoder| decoder.name == name);
    found.unwrap_or_else(|| panic!("no decoder is called {name}"))
}

/// What a fuzz target does with its input.
///
/// # Panics
/// When the decoder has a bug, or there is none of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let _either_is_fine = (named(name).run)(bytes);
}

/// The usual bound: a small multiple of the input, since checking means encoding and decoding again.
const SMALL: MemoryBound = MemoryBound { fixed_bytes: 64 << 10, per_byte: 16 };
/// For decoders that are tried on a simulated disk, which keeps every byte three times over.
const ON_DISK: MemoryBound = MemoryBound { fixed_bytes: 256 << 10, per_byte: 32 };
/// Enough for files of a few hundred bytes, whose decoders take microseconds.
const MANY: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_each_there_once() {
        let names: Vec<_> = ALL.iter().map(|decoder| decoder.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    fn every_sample_is_accepted() {
        for decoder in ALL {
            let samples = (decoder.samples)();
            assert!(!samples.is_empty(), "{} has no samples", decoder.name);
            for (number, sample) in samples.iter().enumerate() {
                let verdict = (decoder.run)(sample);
                assert_eq!(verdict, Verdict::Accepted, "{} sample {number}", decoder.name);
            }
        }
    }

    #[test]
    fn nothing_and_noise_are_taken_without_a_panic() {
        for decoder in ALL {
            for bytes in [&b""[..], &[0], &[0xff; 7], &[0; 600], &[0xff; 5000]] {
                run(decoder.name, bytes);
            }
        }
    }
}
