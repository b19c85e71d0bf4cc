//! The functions of a pool, by number.
//!
//! A slot names its function by a number, which any worker of the pool can write over. What the number stands for, an offset in the executable, the
//! program keeps here, and tells each worker over its control socket, which no other process can write: so what a worker writes on the board
//! never becomes an address that another one jumps to.

use std::collections::HashMap;

/// How many of them a worker is told when it is started.
pub(in crate::process) const TOLD: usize = 8;

/// The numbers of functions, and what they stand for.
#[derive(Default)]
pub(in crate::process) struct Functions {
    entries: Vec<u64>,
    numbers: HashMap<u64, u64>,
    /// The one that was asked for last.
    last: (u64, u64),
}

impl Functions {
    /// The number of the function at an offset in the executable, which is never 0.
    #[inline(always)]
    pub(in crate::process) fn number_of(&mut self, entry: u64) -> u64 {
        if self.last.0 == entry {
            return self.last.1;
        }
        self.look_up(entry)
    }

    #[inline(never)]
    fn look_up(&mut self, entry: u64) -> u64 {
        let next = self.entries.len() as u64;
        let number = *self.numbers.entry(entry).or_insert(next);
        if number == next {
            self.entries.push(entry);
        }
        self.last = (entry, number);
        number
    }

    /// What a number stands for; 0 if nothing.
    pub(in crate::process) fn entry(&self, number: u64) -> u64 {
        usize::try_from(number).ok().and_then(|number| self.entries.get(number)).copied().unwrap_or(0)
    }

    /// The first of them, for a worker that is about to be started.
    pub(in crate::process) fn first(&self) -> [u64; TOLD] {
        std::array::from_fn(|number| self.entry(number as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_keeps_its_number_and_other_numbers_stand_for_nothing() {
        let mut functions = Functions::default();
        let entries: Vec<u64> = (1..100).map(|entry| entry * 64).collect();
        for _ in 0..2 {
            for (number, entry) in entries.iter().enumerate() {
                assert_eq!((functions.number_of(*entry), functions.number_of(*entry)), (number as u64, number as u64));
            }
        }
        assert_eq!(functions.first(), entries[..TOLD]);
        assert!(entries.iter().enumerate().all(|(number, entry)| functions.entry(number as u64) == *entry));
        assert_eq!([99, 100, u64::MAX].map(|number| functions.entry(number)), [0; 3]);
    }
}
