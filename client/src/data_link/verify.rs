//! Whether a payload is what was stored.

use gfs_protocol::checksum::{blocks, count, crc32c};
use gfs_types::message::data::DataResponse;

/// Checks a reply's payload against the checksums of its frame.
///
/// # Errors
/// Which block does not match.
pub(super) fn verify(
    response: &DataResponse,
    payload: &[u8],
    checksums: &[u32],
) -> Result<(), String> {
    let (offset, own) = match response {
        DataResponse::Bytes { offset, own_checksum, .. } => (*offset, *own_checksum),
        _ => (0, false),
    };
    if let DataResponse::Bytes { length, .. } = response
        && *length != payload.len() as u64
    {
        return Err(format!("{} bytes came, {length} were announced", payload.len()));
    }
    if payload.is_empty() {
        return Ok(());
    }
    if own {
        let good = checksums.len() == 1 && checksums[0] == crc32c(payload);
        return if good { Ok(()) } else { Err(format!("the range at {offset} of the chunk")) };
    }
    if count(offset, payload.len() as u64) != checksums.len() as u64 {
        return Err(format!("{} checksums came with {} bytes", checksums.len(), payload.len()));
    }
    let found = blocks(offset, payload);
    match found.iter().zip(checksums).position(|(found, stored)| found != stored) {
        None => Ok(()),
        Some(block) => {
            let at = offset + block as u64 * gfs_types::limits::BLOCK_BYTES;
            Err(format!(
                "the block at {at} of the chunk: stored {:08x}, found {:08x}",
                checksums[block], found[block]
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(offset: u64, length: u64, own_checksum: bool) -> DataResponse {
        DataResponse::Bytes { offset, length, committed_length: 1 << 20, own_checksum }
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
