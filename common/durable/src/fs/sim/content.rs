//! The bytes of a simulated file, in pages that copies share: the state of a disk is copied for every crash that is
//! tried from it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that are shared or copied together.
const PAGE_BYTES: usize = 4096;

/// The bytes of one file. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// `None`: zeros. Behind the end of the file every page is zero.
    pages: Vec<Option<Arc<[u8; PAGE_BYTES]>>>,
    len: usize,
    /// Bits that flipped in bytes that nobody has written since: by place.
    flipped: BTreeMap<usize, u8>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes the file shorter, or longer with zeros.
    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE_BYTES));
            let rest = self.pages.len() * PAGE_BYTES - len;
            self.len = len;
            if let Some(Some(page)) = self.pages.last_mut() {
                Arc::make_mut(page)[PAGE_BYTES - rest..].fill(0);
            }
        }
        self.pages.resize(len.div_ceil(PAGE_BYTES), None);
        self.len = len;
        drop(self.flipped.split_off(&len));
    }

    /// Puts bytes at `offset`; the file grows if need be.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.set_len(self.len.max(offset + bytes.len()));
        self.flipped.retain(|at, _| !(offset..offset + bytes.len()).contains(at));
        self.put(offset, bytes);
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (page, within, part) in parts(offset, bytes.len()) {
            let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[within..within + part.len()].copy_from_slice(&bytes[part]);
        }
    }

    /// Copies the bytes from `offset` on; all of them must be there.
    pub(super) fn read(&self, offset: usize, buffer: &mut [u8]) {
        for (page, within, part) in parts(offset, buffer.len()) {
            let length = part.len();
            match &self.pages[page] {
                Some(page) => buffer[part].copy_from_slice(&page[within..within + length]),
                None => buffer[part].fill(0),
            }
        }
    }

    /// Flips the bits of `mask` in one byte, if it is there.
    pub(super) fn flip(&mut self, offset: usize, mask: u8) {
        if offset < self.len {
            let mut byte = [0];
            self.read(offset, &mut byte);
            self.put(offset, &[byte[0] ^ mask]);
            *self.flipped.entry(offset).or_default() ^= mask;
        }
    }

    /// A byte is as it was before its bits flipped; one that was written since stays as it is.
    pub(super) fn flip_back(&mut self, offset: usize) {
        if let Some(mask) = self.flipped.get(&offset).copied() {
            self.flip(offset, mask);
            self.flipped.remove(&offset);
        }
    }
}

/// The pages of a range: which, where in it, and which part of the range.
fn parts(
    offset: usize,
    length: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let within = (offset + done) % PAGE_BYTES;
        let part = done..length.min(done + PAGE_BYTES - within);
        let page = (offset + done) / PAGE_BYTES;
        done = part.end;
        (!part.is_empty()).then_some((page, within, part))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Change {
        Write(usize, Vec<u8>),
        SetLen(usize),
        Flip(usize, u8),
    }

    fn change() -> impl Strategy<Value = Change> {
        let place = 0..3 * PAGE_BYTES;
        prop_oneof![
            (place.clone(), prop::collection::vec(1u8.., 0..5000))
                .prop_map(|(at, bytes)| Change::Write(at, bytes)),
            place.clone().prop_map(Change::SetLen),
            (place, 1u8..).prop_map(|(at, mask)| Change::Flip(at, mask)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_as_a_vector_of_bytes(changes in prop::collection::vec(change(), 0..20)) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for change in changes {
                match change {
                    Change::Write(at, bytes) => {
                        content.write(at, &bytes);
                        model.resize(model.len().max(at + bytes.len()), 0);
                        model[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                    Change::SetLen(len) => {
                        content.set_len(len);
                        model.resize(len, 0);
                    }
                    Change::Flip(at, mask) => {
                        content.flip(at, mask);
                        if let Some(byte) = model.get_mut(at) {
                            *byte ^= mask;
                        }
                    }
                }
                let mut read = vec![7; content.len()];
                content.read(0, &mut read);
                prop_assert_eq!(&read, &model);
                let from = model.len() / 3;
                content.read(from, &mut read[from..]);
                prop_assert_eq!(&read, &model);
            }
        }
    }
}
