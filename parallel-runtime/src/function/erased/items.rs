//! The items of a map, as its iterator gives them.

use super::type_table::TypeOf;
use super::vec::ErasedVec;

/// Where the items of a map come from: an iterator, and those of its items that were taken and not sent.
pub(crate) trait Items<'a> {
    /// That of the items that are still to come.
    fn size_hint(&self) -> (usize, Option<usize>);

    /// Takes items from their source until there are `most`. After the first and then after every `every` of them, `go_on` is asked whether
    /// to go on; never if it is `usize::MAX`. False if the source has ended. If the source panics, what it has given is still there.
    fn pull(&mut self, most: usize, every: usize, go_on: &mut dyn FnMut(u32) -> bool) -> bool;

    /// How many were taken and not sent.
    fn pulled(&self) -> usize;

    /// Those.
    fn take_pulled(&mut self) -> ErasedVec<'a>;
}

/// The items of an iterator.
pub(crate) struct ItemsOf<'a, I> {
    /// `None` when it has ended.
    source: Option<I>,
    pulled: ErasedVec<'a>,
}

impl<I: Iterator> ItemsOf<'_, I> {
    pub(crate) fn new(source: I) -> Self {
        Self { source: Some(source), pulled: ErasedVec::new(TypeOf::<I::Item>::table()) }
    }
}

impl<'a, I: Iterator<Item: Send + 'a>> Items<'a> for ItemsOf<'a, I> {
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.as_ref().map_or((0, Some(0)), Iterator::size_hint)
    }

    fn pull(&mut self, most: usize, every: usize, go_on: &mut dyn FnMut(u32) -> bool) -> bool {
        let Some(source) = &mut self.source else { return false };
        self.pulled.reserve(source.size_hint().0.min(most));
        if every == usize::MAX {
            // Nothing is asked in between.
            let wanted = most.saturating_sub(self.pulled.len());
            // SAFETY: the vector was made for items of this type.
            unsafe { self.pulled.extend(source.by_ref().take(wanted)) };
            let goes_on = self.pulled.len() >= most;
            if !goes_on {
                self.source = None;
            }
            return goes_on;
        }
        let (mut count, mut until) = (0_usize, 1_usize);
        while self.pulled.len() < most {
            let Some(item) = source.next() else {
                self.source = None;
                return false;
            };
            // SAFETY: the vector was made for items of this type.
            unsafe { self.pulled.push(item) };
            count += 1;
            if count == until {
                until = count.saturating_add(every);
                if !go_on(count as u32) {
                    break;
                }
            }
        }
        true
    }

    fn pulled(&self) -> usize {
        self.pulled.len()
    }

    fn take_pulled(&mut self) -> ErasedVec<'a> {
        let table = self.pulled.table();
        std::mem::replace(&mut self.pulled, ErasedVec::new(table))
    }
}

/// All items, at once.
pub(crate) fn all_of<'a>(items: &mut dyn Items<'a>) -> ErasedVec<'a> {
    items.pull(usize::MAX, usize::MAX, &mut |_| true);
    items.take_pulled()
}
