//! Whether a payload is what was stored.

use gfs_protocol::checksum::{count, crc32c};
use gfs_types::limits::BLOCK_BYTES;
use gfs_types::message::data::DataResponse;
use gfs_types::mutants::{Mutant, runs};

/// Checks a payload against the checksums of its frame while it comes in, block by block.
#[derive(Debug)]
pub(super) struct Check<'a> {
    /// Where the payload stands in the chunk.
    offset: u64,
    length: usize,
    /// One checksum for all of it, not one for each block.
    own: bool,
    checksums: &'a [u32],
    /// Bytes and blocks that were checked.
    checked: usize,
    blocks: usize,
    good: Result<(), String>,
}

impl<'a> Check<'a> {
    /// For a payload of so many bytes that belongs to this reply.
    pub(super) fn new(
        reply: &Result<DataResponse, gfs_types::Error>,
        length: usize,
        checksums: &'a [u32],
    ) -> Self {
        let (offset, own) = match reply {
            Ok(DataResponse::Bytes { offset, own_checksum, .. }) => (*offset, *own_checksum),
            _ => (0, false),
        };
        let good = fits(reply, offset, own, length as u64, checksums.len() as u64);
        Self { offset, length, own, checksums, checked: 0, blocks: 0, good }
    }

    /// Looks at what came since the last time; `payload` is all that came.
    pub(super) fn look(&mut self, payload: &[u8]) {
        while self.good.is_ok() && self.checked < self.length {
            // Wrapping: the offset is what a peer says.
            let at = self.offset.wrapping_add(self.checked as u64);
            let end = self.block_end(at);
            let Some(block) = payload.get(self.checked..end) else { return };
            let (stored, found) = (self.checksums[self.blocks], crc32c(block));
            if stored != found && !runs(Mutant::RotIsServed) {
                let what = if self.own { "range" } else { "block" };
                self.good = Err(format!(
                    "the {what} at {at} of the chunk: stored {stored:08x}, found {found:08x}"
                ));
            }
            self.checked = end;
            self.blocks += 1;
        }
    }

    /// The verdict over the whole payload.
    ///
    /// # Errors
    /// Which block does not match.
    pub(super) fn end(self) -> Result<(), String> {
        self.good
    }

    /// Where in the payload the block ends that begins at `at` of the chunk.
    fn block_end(&self, at: u64) -> usize {
        if self.own {
            return self.length;
        }
        let left = usize::try_from(BLOCK_BYTES - at % BLOCK_BYTES).unwrap_or(usize::MAX);
        self.length.min(self.checked.saturating_add(left))
    }
}

/// Whether there are as many bytes and checksums as there should be.
fn fits(
    reply: &Result<DataResponse, gfs_types::Error>,
    offset: u64,
    own: bool,
    bytes: u64,
    checksums: u64,
) -> Result<(), String> {
    if let Ok(DataResponse::Bytes { length, .. }) = reply
        && *length != bytes
    {
        return Err(format!("{bytes} bytes came, {length} were announced"));
    }
    let expected = if own { u64::from(bytes > 0) } else { count(offset, bytes) };
    if bytes > 0 && checksums != expected {
        return Err(format!("{checksums} checksums came with {bytes} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_protocol::checksum::blocks;

    fn bytes(offset: u64, length: u64, own_checksum: bool) -> DataResponse {
        DataResponse::Bytes { offset, length, committed_length: 1 << 20, own_checksum }
    }

    /// The verdict however the bytes come.
    fn verify(response: &DataResponse, payload: &[u8], checksums: &[u32]) -> Result<(), String> {
        let verdict = |step: usize| {
            let reply = Ok(response.clone());
            let mut check = Check::new(&reply, payload.len(), checksums);
            for came in (0..payload.len()).step_by(step).chain([payload.len()]) {
                check.look(&payload[..came]);
            }
            check.end()
        };
        let whole = verdict(usize::MAX);
        for step in [999, 65_536, 70_000] {
            assert_eq!(verdict(step), whole);
        }
        whole
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_found() {
        let mut payload = vec![3u8; 65_536 + 100];
        let sums = blocks(65_536, &payload);
        let response = bytes(65_536, payload.len() as u64, false);
        assert_eq!(verify(&response, &payload, &sums), Ok(()));
        for at in [0, 65_535, 65_536, 65_635] {
            payload[at] ^= 0x10;
            assert!(verify(&response, &payload, &sums).is_err(), "byte {at}");
            payload[at] ^= 0x10;
        }
    }

    #[test]
    fn a_checksum_of_the_range_alone_is_only_taken_where_it_is_announced() {
        let payload = vec![3u8; 70_000];
        let own = [crc32c(&payload)];
        assert_eq!(verify(&bytes(5, 70_000, true), &payload, &own), Ok(()));
        assert!(verify(&bytes(5, 70_000, false), &payload, &own).is_err());
        assert!(verify(&bytes(5, 70_000, true), &payload, &[own[0] ^ 1]).is_err());
        assert!(verify(&bytes(5, 70_000, true), &payload, &[]).is_err());
    }

    #[test]
    fn a_payload_without_checksums_or_of_another_length_is_refused() {
        assert!(verify(&bytes(0, 4, false), b"abcd", &[]).is_err());
        assert!(verify(&bytes(0, 5, false), b"abcd", &blocks(0, b"abcd")).is_err());
        assert_eq!(verify(&bytes(0, 0, false), b"", &[]), Ok(()));
    }
}
