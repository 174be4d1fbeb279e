//! Streams that are whole, cut, changed, too long, and not streams at all.

use proptest::prelude::*;

use super::*;

const KIND: Kind = Kind { name: *b"TEST", version: 3 };
const BYTES_MAX: u32 = 1000;

fn section(tag: u32, payload: &[u8]) -> Section {
    Section { tag, payload: payload.to_owned() }
}

fn encode(sections: &[Section]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), KIND).expect("memory does not fail");
    for Section { tag, payload } in sections {
        writer.section(*tag, payload).expect("memory does not fail");
    }
    writer.finish().expect("memory does not fail")
}

fn some() -> Vec<Section> {
    vec![section(1, b"first"), section(2, b""), section(1, &[7; 300])]
}

#[test]
fn sections_come_back() {
    let bytes = encode(&some());
    assert_eq!(decode(&bytes, KIND, BYTES_MAX).expect("a good stream"), some());
    let empty = encode(&[]);
    assert_eq!(decode(&empty, KIND, BYTES_MAX).expect("a good stream"), []);
    let reader = Reader::new(&bytes[..], KIND, BYTES_MAX).expect("a good head");
    assert_eq!(reader.version(), 3);
}

#[test]
fn a_cut_anywhere_is_found() {
    let bytes = encode(&some());
    for len in 0..bytes.len() {
        let error = decode(&bytes[..len], KIND, BYTES_MAX).expect_err("it was cut");
        assert!(matches!(error, FrameError::Cut { .. }), "{len} bytes: {error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let good = encode(&some());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(decode(&bad, KIND, BYTES_MAX).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn sections_that_change_places_or_are_dropped_are_found() {
    let sections = some();
    let good = encode(&sections);
    let (start, first, second) = (20, 12 + 5, 12);
    let mut swapped = good[..start].to_vec();
    swapped.extend(&good[start + first..start + first + second]);
    swapped.extend(&good[start..start + first]);
    swapped.extend(&good[start + first + second..]);
    let error = decode(&swapped, KIND, BYTES_MAX).expect_err("swapped");
    assert!(matches!(error, FrameError::Damaged { offset: 20 }), "{error}");
    let mut dropped = good[..start + first + second].to_vec();
    dropped.extend(&good[good.len() - 32..]);
    let error = decode(&dropped, KIND, BYTES_MAX).expect_err("one is missing");
    assert!(matches!(error, FrameError::Damaged { .. }), "{error}");
}

#[test]
fn a_trailer_of_another_stream_disagrees() {
    let good = encode(&some());
    let other = encode(&[section(1, b"other"), section(2, b""), section(1, &[7; 300])]);
    let mut mixed = good[..good.len() - 32].to_vec();
    mixed.extend(&other[other.len() - 32..]);
    let error = decode(&mixed, KIND, BYTES_MAX).expect_err("not its trailer");
    assert!(matches!(error, FrameError::Disagrees { .. }), "{error}");
}

#[test]
fn bytes_after_the_trailer_are_refused() {
    let mut bytes = encode(&some());
    bytes.push(0);
    let error = decode(&bytes, KIND, BYTES_MAX).expect_err("one too many");
    assert!(matches!(error, FrameError::TooMuch { .. }), "{error}");
}

#[test]
fn a_section_at_the_limit_is_read_and_one_past_it_refused() {
    let bytes = encode(&[section(1, &[1; 1000])]);
    decode(&bytes, KIND, BYTES_MAX).expect("at the limit");
    let error = decode(&bytes, KIND, BYTES_MAX - 1).expect_err("one past it");
    assert!(matches!(error, FrameError::TooLong { length: 1000, length_max: 999, .. }), "{error}");
}

#[test]
fn other_kinds_and_newer_versions_are_named() {
    let bytes = encode(&some());
    let other = decode(&bytes, Kind { name: *b"ELSE", ..KIND }, BYTES_MAX).expect_err("another");
    assert!(other.to_string().contains("TEST") && other.to_string().contains("ELSE"), "{other}");
    let newer = decode(&bytes, Kind { version: 2, ..KIND }, BYTES_MAX).expect_err("newer");
    assert!(matches!(newer, FrameError::Newer { found: 3, supported: 2 }), "{newer}");
    decode(&bytes, Kind { version: 4, ..KIND }, BYTES_MAX).expect("older ones are read");
}

#[test]
fn the_tag_of_the_trailer_is_taken() {
    let mut writer = Writer::new(Vec::new(), KIND).expect("memory does not fail");
    let error = writer.section(TRAILER_TAG, b"").expect_err("it is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

/// Without a trailer the stream is not whole, however good its sections are.
#[test]
fn a_stream_without_its_trailer_gives_its_sections_and_then_an_error() {
    let bytes = encode(&some());
    let mut reader = Reader::new(&bytes[..bytes.len() - 32], KIND, BYTES_MAX).expect("a head");
    for expected in some() {
        assert_eq!(reader.next_section().expect("a section"), Some(expected));
    }
    assert!(matches!(reader.next_section(), Err(FrameError::Cut { .. })));
}

#[test]
fn the_bytes_of_the_format_stay_as_they_are() {
    let bytes = encode(&[section(5, b"ab")]);
    assert_eq!(&bytes[..16], b"GFSF\x01\0\0\0TEST\x03\0\0\0");
    assert_eq!(&bytes[20..28], b"\x05\0\0\0\x02\0\0\0");
    assert_eq!(&bytes[32..34], b"ab");
    assert_eq!(&bytes[34..42], b"\xff\xff\xff\xff\x14\0\0\0");
    assert_eq!(bytes.len(), 20 + 14 + 32);
    assert_eq!(crate::crc::crc32c(&[&bytes]), 0x39ecb4ca);
}

proptest! {
    #[test]
    fn any_sections_come_back(
        sections in prop::collection::vec((0..TRAILER_TAG, prop::collection::vec(any::<u8>(), 0..200)), 0..20),
    ) {
        let sections: Vec<_> = sections.iter().map(|(tag, bytes)| section(*tag, bytes)).collect();
        prop_assert_eq!(decode(&encode(&sections), KIND, BYTES_MAX).expect("good"), sections);
    }

    #[test]
    fn any_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(decode(&bytes, KIND, u32::MAX).is_err());
        let mut with_head = encode(&[])[..20].to_vec();
        with_head.extend(&bytes);
        prop_assert!(decode(&with_head, KIND, u32::MAX).is_err());
    }
}
