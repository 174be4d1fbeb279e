//! Records in a file, among padding and fragments.

use bytes::{Bytes, BytesMut};
use gfs_client::ChunkSize;
use gfs_client::record::frame::{HEADER_BYTES, MAGIC, encode};
use gfs_client::record::scan::Scanner;
use gfs_client::record::{WriterId, fuzz};

use super::seal::word;
use super::{Decoder, SMALL, Verdict};

pub(super) const DECODER: Decoder =
    Decoder { name: "record", run, samples, memory: SMALL, mutations: 60 };

fn run(bytes: &[u8]) -> Verdict {
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    one(bytes).or(one(&sealed))
}

/// Every frame that is whole gets the checksum of what it says.
fn seal(bytes: &mut [u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let length = word(bytes, at + 8).map_or(usize::MAX, |length| length as usize);
        let end = at.saturating_add(HEADER_BYTES).saturating_add(length);
        match bytes.get_mut(at..end) {
            Some(frame) if frame.starts_with(&MAGIC) => {
                sum(frame);
                at = end;
            }
            _ => at += 1,
        }
    }
}

/// The checksum is over the whole frame with its own field zero.
fn sum(frame: &mut [u8]) {
    frame[12..16].fill(0);
    let checksum = gfs_protocol::checksum::crc32c(frame);
    frame[12..16].copy_from_slice(&checksum.to_le_bytes());
}

fn one(bytes: &[u8]) -> Verdict {
    fuzz(bytes);
    let mut scanner = Scanner::new(ChunkSize::default(), 0);
    scanner.push(&Bytes::copy_from_slice(bytes));
    let found = scanner.next_record().or_else(|| scanner.next_record_at_end());
    Verdict::of(found.is_some())
}

fn samples() -> Vec<Vec<u8>> {
    let framed = |records: &[(u64, &[u8])]| {
        let mut file = BytesMut::new();
        for (seq, payload) in records {
            encode(&mut file, WriterId(7), *seq, payload);
        }
        file.to_vec()
    };
    let one = framed(&[(1, b"one")]);
    let two = framed(&[(1, b"one"), (2, b""), (3, &[3; 100])]);
    // A record that holds a record, twice, with padding and a fragment between.
    let nested = framed(&[(4, &one)]);
    let torn = [&nested[..], &[0; 30], &two[..50], &nested].concat();
    vec![one, two, nested, torn]
}
