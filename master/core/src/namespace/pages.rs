//! Tables that grow without moving: a page more, never all of it copied into twice the room.

/// Items of one page.
const PAGE: usize = 4096;

/// A list in pages. All but the last are full.
#[derive(Debug, Clone)]
pub(super) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    pub(super) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        let at = at as usize;
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let at = at as usize;
        self.pages.get_mut(at / PAGE)?.get_mut(at % PAGE)
    }

    pub(super) fn push(&mut self, item: T) {
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => last.push(item),
            // The first page grows: a small tree has no more than it needs.
            None => self.pages.push(vec![item]),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                self.pages.push(page);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}

/// Pages with places that are used again. Which one is next shows nowhere but in memory.
#[derive(Debug, Clone)]
pub(super) struct Slab<T> {
    items: Pages<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { items: Pages::default(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.items.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.items.get_mut(at)?.as_mut()
    }

    pub(super) fn add(&mut self, item: T) -> u32 {
        if let Some(at) = self.free.pop() {
            *self.items.get_mut(at).expect("what was freed is a place of the table") = Some(item);
            return at;
        }
        let at = u32::try_from(self.items.len()).expect("fewer than one for each node");
        self.items.push(Some(item));
        at
    }

    pub(super) fn take(&mut self, at: u32) -> Option<T> {
        let item = self.items.get_mut(at)?.take()?;
        self.free.push(at);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fill_one_after_the_other() {
        let mut pages = Pages::default();
        for n in 0..10_000_u32 {
            assert_eq!(pages.len(), n as usize);
            pages.push(n);
        }
        assert!(pages.iter().copied().eq(0..10_000));
        assert_eq!(pages.get(9_999), Some(&9_999));
        assert_eq!(pages.get(10_000), None);
        assert!(pages.pages.iter().skip(1).all(|page| page.capacity() == PAGE));
    }

    #[test]
    fn a_freed_place_is_used_again() {
        let mut slab = Slab::default();
        assert_eq!((slab.add('a'), slab.add('b')), (0, 1));
        assert_eq!(slab.take(0), Some('a'));
        assert!(slab.get(0).is_none());
        assert!(slab.take(0).is_none());
        assert_eq!((slab.add('c'), slab.add('d')), (0, 2));
        assert_eq!(slab.get(0), Some(&'c'));
    }
}
