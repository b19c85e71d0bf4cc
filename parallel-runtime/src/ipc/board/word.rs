//! The word that says where a task is, and whose: see [`slot`](super::slot).

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free = 0,
    Ready = 1,
    Claimed = 2,
    Done = 3,
}

/// The value of a slot's word: state in bits 0 and 1, worker in bits 2 to 15, generation in bits 16 to 63.
///
/// The low half, on which the program sleeps, holds 16 bits of the generation, so that it differs between one use of the slot
/// and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// Bits of a generation.
pub(crate) const GENERATION: u64 = (1 << 48) - 1;

impl Word {
    pub(crate) fn free(generation: u64) -> Self {
        Self::new(State::Free, 0, generation)
    }

    pub(crate) fn ready(generation: u64) -> Self {
        Self::new(State::Ready, 0, generation)
    }

    pub(crate) fn claimed(worker: u32, generation: u64) -> Self {
        Self::new(State::Claimed, worker, generation)
    }

    pub(crate) fn done(worker: u32, generation: u64) -> Self {
        Self::new(State::Done, worker, generation)
    }

    fn new(state: State, worker: u32, generation: u64) -> Self {
        debug_assert!(worker < 1 << 14);
        Self(state as u64 | u64::from(worker) << 2 | (generation & GENERATION) << 16)
    }

    pub(crate) fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Free,
            1 => State::Ready,
            2 => State::Claimed,
            _ => State::Done,
        }
    }

    pub(crate) fn worker(self) -> u32 {
        (self.0 >> 2) as u32 & ((1 << 14) - 1)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> 16
    }
}
