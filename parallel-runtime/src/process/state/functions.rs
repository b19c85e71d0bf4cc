//! The functions of a pool, by number.
//!
//! A slot names its function by a number, which any worker of the pool can write over. What the number stands for, an offset in the executable, the
//! program keeps here, and tells each worker over its control channel, which no other process can write: so what a worker writes on the board
//! never becomes an address that another one jumps to.

use std::collections::HashMap;

use super::pack::MOST_PACKED;

/// How many of them a worker is told when it is started.
pub(in crate::process) const TOLD: usize = 8;

/// How many states of functions a worker in a sandbox makes before that closes.
pub(in crate::process) const MOST_KEPT: usize = 8;

/// For how long a worker may be busy with one message of several tasks, in nanoseconds.
const PACKED: u64 = 30_000;

/// The numbers of functions, and what they stand for.
#[derive(Default)]
pub(in crate::process) struct Functions {
    entries: Vec<u64>,
    numbers: HashMap<u64, u64>,
    /// By number: how long a task takes, in nanoseconds; 0 if nothing is known.
    times: Vec<u64>,
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
            self.times.push(0);
        }
        self.last = (entry, number);
        number
    }

    /// What a number stands for; 0 if nothing.
    pub(in crate::process) fn entry(&self, number: u64) -> u64 {
        usize::try_from(number).ok().and_then(|number| self.entries.get(number)).copied().unwrap_or(0)
    }

    /// A worker says that `tasks` of a function took it so long.
    pub(in crate::process) fn took(&mut self, number: u64, nanoseconds: u64, tasks: u32) {
        let Some(time) = usize::try_from(number).ok().and_then(|number| self.times.get_mut(number)) else { return };
        // Not 0, which says that nothing is known; and no lie changes it for long.
        let new = (nanoseconds / u64::from(tasks.max(1))).clamp(1, 100 * PACKED);
        *time = if *time == 0 { new } else { (7 * *time + new).div_ceil(8) };
    }

    /// How many tasks of a function may travel together.
    #[inline(always)]
    pub(in crate::process) fn packed(&self, number: u64) -> usize {
        match self.times[number as usize] {
            0 => 1,
            time => (PACKED / time).clamp(1, MOST_PACKED as u64) as usize,
        }
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
        assert_eq!(functions.packed(7), 1, "nothing is known");
        functions.took(7, 64_000, 64);
        assert_eq!((functions.packed(7), functions.packed(8)), (30, 1));
        functions.took(7, u64::MAX, 1);
        assert_eq!(functions.packed(7), 1);
        (0..200).for_each(|_| functions.took(7, 10, 1));
        assert_eq!(functions.packed(7), MOST_PACKED);
        functions.took(u64::MAX, 1, 1);
        assert_eq!([99, 100, u64::MAX].map(|number| functions.entry(number)), [0; 3]);
    }
}
