//! Finding whole frames among padding, fragments and garbage.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use gfs_types::region::ChunkSize;

use super::Record;
use super::frame::{Decoded, HEADER_BYTES, MAGIC, decode, payload_bytes_max};

/// Takes the bytes of a file in order and gives the whole records in them. No I/O. Holds at most one record and the
/// piece that was put in last.
#[derive(Debug)]
pub struct Scanner {
    chunk: ChunkSize,
    /// Offset in the file of the first byte held.
    offset: u64,
    held: BytesMut,
}

/// Bytes that are searched at once.
const LOOK_BYTES: usize = 32;

/// What a look at one place finds.
enum Look {
    Frame(Record, usize),
    /// It needs more bytes.
    Wait,
    Nothing,
}

impl Scanner {
    /// Begins at this offset of a file; a record that began before it is not found.
    #[must_use]
    pub fn new(chunk: ChunkSize, offset: u64) -> Self {
        Self { chunk, offset, held: BytesMut::new() }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &Bytes) {
        self.held.extend_from_slice(bytes);
    }

    /// Where the next byte to put in stands in the file.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        self.offset + self.held.len() as u64
    }

    /// The next whole record; `None` when more bytes are needed.
    pub fn next_record(&mut self) -> Option<Record> {
        loop {
            let start = self.candidate(0);
            self.skip(start);
            match self.look(0) {
                Look::Frame(record, bytes) => {
                    self.skip(bytes);
                    return Some(record);
                }
                Look::Wait => return None,
                Look::Nothing if self.held.is_empty() => return None,
                Look::Nothing => self.skip(1),
            }
        }
    }

    /// At the end of the file: the next whole record behind what looks like the beginning of one and is none, for a
    /// whole record that follows it proves that nobody will finish it. `None` at the end; what is held stays, for the
    /// file may grow.
    pub fn next_record_at_end(&mut self) -> Option<Record> {
        let mut at = 0;
        loop {
            at = self.candidate(at);
            match self.look(at) {
                Look::Frame(record, bytes) => {
                    self.skip(at + bytes);
                    return Some(record);
                }
                Look::Wait | Look::Nothing if at >= self.held.len() => return None,
                Look::Wait | Look::Nothing => at += 1,
            }
        }
    }

    /// The first place from `at` on where a frame may begin.
    fn candidate(&self, at: usize) -> usize {
        let rest = &self.held[at..];
        let begins = |from: &usize| {
            let known = MAGIC.len().min(rest.len() - from);
            rest[*from..from + known] == MAGIC[..known]
        };
        // Padding and raw records have no end: `contains` looks at many bytes at once.
        let parts = rest.chunks(LOOK_BYTES).enumerate();
        let parts = parts.filter(|(_, part)| part.contains(&MAGIC[0]));
        let firsts = parts.flat_map(|(index, part)| {
            let firsts = part.iter().enumerate().filter(|(_, byte)| **byte == MAGIC[0]);
            firsts.map(move |(from, _)| index * LOOK_BYTES + from)
        });
        at + firsts.into_iter().find(begins).unwrap_or(rest.len())
    }

    /// A record never straddles chunks (§3.3), so what would is none.
    fn look(&self, at: usize) -> Look {
        let offset = self.offset + at as u64;
        let (_, in_chunk) = self.chunk.locate(offset);
        let room = self.chunk.bytes() - in_chunk;
        let most = payload_bytes_max(self.chunk) + HEADER_BYTES as u64;
        let fits = |bytes: usize| bytes as u64 <= room.min(most);
        match decode(&self.held[at..]) {
            Decoded::Frame { writer, seq, payload, bytes } if fits(bytes) => {
                Look::Frame(Record { offset, writer, seq, payload }, bytes)
            }
            Decoded::Incomplete { bytes } if fits(bytes) => Look::Wait,
            _ => Look::Nothing,
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.held.advance(bytes);
        self.offset += bytes as u64;
    }
}

/// All records of a whole file that is put in in pieces of this length.
pub(super) fn collect(chunk: ChunkSize, data: &[u8], piece: usize) -> Vec<Record> {
    let mut scanner = Scanner::new(chunk, 0);
    let mut pieces: VecDeque<Bytes> = data.chunks(piece).map(Bytes::copy_from_slice).collect();
    let mut found = Vec::new();
    while let Some(bytes) = pieces.pop_front() {
        scanner.push(&bytes);
        found.extend(std::iter::from_fn(|| scanner.next_record()));
    }
    found.extend(std::iter::from_fn(|| scanner.next_record_at_end()));
    found
}

#[cfg(test)]
mod tests {
    use super::super::frame::encode;
    use super::super::{WriterId, fuzz};
    use super::*;
    use proptest::prelude::*;

    fn chunk() -> ChunkSize {
        ChunkSize::new(128 << 10).unwrap()
    }

    fn put(out: &mut BytesMut, seq: u64, payload: &[u8]) -> usize {
        let at = out.len();
        encode(out, WriterId(1), seq, payload);
        at
    }

    fn seqs(records: &[Record]) -> Vec<(u64, u64)> {
        records.iter().map(|r| (r.offset, r.seq)).collect()
    }

    #[test]
    fn records_are_found_behind_padding_and_in_the_next_chunk() {
        let mut file = BytesMut::new();
        put(&mut file, 1, b"one");
        let two = put(&mut file, 2, b"");
        file.resize(128 << 10, 0);
        let three = put(&mut file, 3, b"three");
        for piece in [1, 7, 4096, file.len()] {
            let found = collect(chunk(), &file, piece);
            let expected = [(0, 1), (two as u64, 2), (three as u64, 3)];
            assert_eq!(seqs(&found), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_fragment_is_never_given_and_hides_nothing() {
        let mut inner = BytesMut::new();
        put(&mut inner, 77, b"a record within a record");
        let mut whole = BytesMut::new();
        put(&mut whole, 1, &[&[b'x'; 100], &inner[..], &[b'y'; 100]].concat());
        for cut in 1..whole.len() {
            let mut file = BytesMut::from(&whole[..cut]);
            let next = put(&mut file, 2, b"next");
            assert_eq!(seqs(&collect(chunk(), &file, 64)), [(next as u64, 2)], "cut at {cut}");
        }
    }

    #[test]
    fn what_would_straddle_a_chunk_is_no_record() {
        let mut file = BytesMut::zeroed((128 << 10) - 20);
        put(&mut file, 1, b"across");
        assert_eq!(collect(chunk(), &file, 1000), []);
        let mut file = BytesMut::zeroed((128 << 10) - 46);
        put(&mut file, 1, b"sixsix");
        assert_eq!(collect(chunk(), &file, 1000).len(), 1, "just up to the border");
    }

    #[test]
    fn a_record_longer_than_a_quarter_of_a_chunk_is_none() {
        let most = usize::try_from(payload_bytes_max(chunk())).unwrap();
        let mut file = BytesMut::new();
        put(&mut file, 1, &vec![5; most]);
        assert_eq!(collect(chunk(), &file, 999).len(), 1);
        let mut file = BytesMut::new();
        put(&mut file, 1, &vec![5; most + 1]);
        assert_eq!(collect(chunk(), &file, 999).len(), 0);
    }

    #[test]
    fn an_unfinished_record_at_the_end_is_waited_for() {
        let mut file = BytesMut::new();
        put(&mut file, 1, b"one");
        let second = put(&mut file, 2, b"two");
        let mut scanner = Scanner::new(chunk(), 0);
        scanner.push(&Bytes::copy_from_slice(&file[..second + 41]));
        assert_eq!(scanner.next_record().map(|r| r.seq), Some(1));
        assert_eq!(scanner.next_record(), None);
        assert_eq!(scanner.next_record_at_end(), None);
        assert_eq!(scanner.wanted(), second as u64 + 41);
        scanner.push(&Bytes::copy_from_slice(&file[second + 41..]));
        assert_eq!(scanner.next_record().map(|r| r.seq), Some(2));
    }

    #[test]
    fn a_torn_record_at_the_end_does_not_hide_whole_ones_behind_it() {
        let mut file = BytesMut::new();
        put(&mut file, 1, &[9; 5000]);
        file.truncate(300);
        put(&mut file, 2, b"two");
        let mut scanner = Scanner::new(chunk(), 0);
        scanner.push(&file.freeze());
        assert_eq!(scanner.next_record(), None, "more may come");
        assert_eq!(scanner.next_record_at_end().map(|r| r.seq), Some(2));
    }

    #[test]
    fn memory_does_not_grow_with_garbage() {
        let mut scanner = Scanner::new(chunk(), 0);
        for _ in 0..1000 {
            scanner.push(&Bytes::from_static(&[0; 4096]));
            assert_eq!(scanner.next_record(), None);
            assert!(scanner.held.is_empty());
        }
    }

    /// Inputs that once mattered, or are the likely edges; a fuzzer's findings are added here.
    #[test]
    fn the_corpus_breaks_no_invariant() {
        let mut frame = BytesMut::new();
        put(&mut frame, 1, b"abc");
        let doubled = [&frame[..], &frame[..]].concat();
        let magics = MAGIC.repeat(50);
        let mut huge = frame.to_vec();
        huge[8..12].fill(0xff);
        for data in [&b""[..], b"G", b"GFSA", &frame, &doubled, &magics, &huge, &doubled[..60]] {
            fuzz(data);
        }
    }

    proptest! {
        #[test]
        fn mutated_files_give_only_what_was_written(
            payloads in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..200), 1..8),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut file = BytesMut::new();
            let mut at = Vec::new();
            for (seq, payload) in (1..).zip(&payloads) {
                at.push(put(&mut file, seq, payload) as u64);
            }
            for (place, bit) in flips {
                let place = place.index(file.len());
                file[place] ^= 1 << bit;
            }
            file.truncate(cut.index(file.len() + 1));
            fuzz(&file);
            for record in collect(chunk(), &file, 33) {
                let index = usize::try_from(record.seq - 1).unwrap();
                prop_assert_eq!(record.offset, at[index]);
                prop_assert_eq!(&record.payload[..], &payloads[index][..]);
            }
        }

        #[test]
        fn any_bytes_are_taken(data in proptest::collection::vec(
            prop_oneof![Just(b'G'), Just(b'F'), Just(b'S'), Just(b'A'), Just(1), Just(0), any::<u8>()],
            0..300,
        )) {
            fuzz(&data);
        }
    }
}
