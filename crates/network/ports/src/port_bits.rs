//! A set of ports that costs 640 bytes when it holds a few, and 8 KiB when it holds all.

/// Ports of one page: sixteen words of 64.
const PAGE: usize = 1024;

/// A set of ports; each operation is a few instructions, whatever it holds.
#[derive(Debug)]
pub(crate) struct PortBits {
    pages: Box<[Option<Box<[u64; PAGE / 64]>>; 65_536 / PAGE]>,
    count: usize,
}

impl Default for PortBits {
    fn default() -> Self {
        Self { pages: Box::new([const { None }; 65_536 / PAGE]), count: 0 }
    }
}

impl PortBits {
    /// Takes it in; false if it was there.
    pub(crate) fn insert(&mut self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        let word = &mut self.pages[page].get_or_insert_default()[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(is_new);
        is_new
    }

    /// Takes it out; false if it was not there.
    pub(crate) fn remove(&mut self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        let Some(page) = &mut self.pages[page] else { return false };
        let was_there = page[word] & bit != 0;
        page[word] &= !bit;
        self.count -= usize::from(was_there);
        was_there
    }

    pub(crate) fn has(&self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        self.pages[page].as_ref().is_some_and(|page| page[word] & bit != 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

fn place(port: u16) -> (usize, usize, u64) {
    let port = usize::from(port);
    (port / PAGE, port % PAGE / 64, 1 << (port % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u16..=u16::MAX), 0..300)) {
            let (mut bits, mut set) = (PortBits::default(), BTreeSet::new());
            for (inserts, port) in steps {
                let port = port & 0xe07f; // few enough to meet again, in many pages
                if inserts {
                    prop_assert_eq!(bits.insert(port), set.insert(port));
                } else {
                    prop_assert_eq!(bits.remove(port), set.remove(&port));
                }
                prop_assert_eq!(bits.len(), set.len());
                prop_assert_eq!(bits.has(port), set.contains(&port));
            }
        }
    }
}
