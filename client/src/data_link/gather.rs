//! Several byte strings written with one call.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// What is still to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Gather {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Gather {
    pub(super) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }
}

impl Buf for Gather {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.parts);
        pairs.map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "no more can be written than there is");
        self.bytes -= count;
        while let Some(front) = self.parts.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_however_few_are_taken_at_a_time() {
        for step in 1..=9 {
            let mut gather = Gather::default();
            for part in ["ab", "", "cdef", "g"] {
                gather.push(Bytes::from_static(part.as_bytes()));
            }
            let mut out = Vec::new();
            while gather.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let used = gather.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..used].iter().flat_map(|s| s.to_vec()).collect();
                let take = step.min(seen.len());
                out.extend_from_slice(&seen[..take]);
                gather.advance(take);
            }
            assert_eq!(out, b"abcdefg", "in steps of {step}");
        }
    }
}
