//! Durable state to and from checkpoint bytes, section by section (`docs/formats/checkpoint.md`).
//!
//! Equal states have equal bytes. No step holds more than one section beside the state itself. The shell frames and
//! checksums each section; the last one holds a checksum over all before it.

mod items;
mod load;
mod places;
#[cfg(test)]
mod tests;

use crc_fast::{CrcAlgorithm, Digest};

use crate::Durable;
use crate::codec::Writer;

pub use load::{ImageError, Loader};

/// Bytes of one section, at most.
pub const SECTION_BYTES_MAX: usize = 1 << 20;
/// A section is full when it has so many bytes; one more item fits below [`SECTION_BYTES_MAX`].
const SECTION_BYTES_FULL: usize = 256 << 10;

/// The version of the format. Frozen: another one gets another number.
const VERSION: u8 = 2;
/// Kinds of sections. Frozen.
const HEAD: u8 = 1;
const ITEMS: u8 = 2;
const END: u8 = 3;

/// The sections of a state, one by one, each at most [`SECTION_BYTES_MAX`]. The first names position and epoch, the last
/// is told apart from all others, so that a cut checkpoint is seen.
pub fn sections(durable: &Durable) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut sum = new_sum();
    let mut items = items::all(durable).peekable();
    let mut stage = HEAD;
    std::iter::from_fn(move || {
        let mut w = Writer::default();
        w.u8(stage);
        match stage {
            HEAD => {
                items::write_head(&mut w, durable);
                stage = ITEMS;
            }
            ITEMS => {
                while w.bytes.len() < SECTION_BYTES_FULL {
                    let Some(item) = items.next() else { break };
                    items::write(&mut w, &item);
                }
                if items.peek().is_none() {
                    stage = END;
                }
            }
            END => {
                w.u64(sum.finalize());
                stage = 0;
                return Some(w.bytes);
            }
            _ => return None,
        }
        sum.update(&w.bytes);
        Some(w.bytes)
    })
}

/// The digest of the state whose image this section ends; `None` for every other section.
#[must_use]
pub fn digest_in(section: &[u8]) -> Option<u64> {
    let (kind, sum) = section.split_first()?;
    let sum = sum.try_into().ok().filter(|_| *kind == END)?;
    Some(u64::from_le_bytes(sum))
}

pub(crate) fn digest(durable: &Durable) -> u64 {
    let mut sum = new_sum();
    for section in sections(durable) {
        if section[0] != END {
            sum.update(&section);
        }
    }
    sum.finalize()
}

fn new_sum() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}
