//! How a worker goes to sleep, and how it is woken.
//!
//! ```text
//!   a thread with a task         worker
//!   publish the task                 set my bit in `sleepers`, and `searching` = 0
//!   ── fence ──                      ── fence ──
//!   look at `searching`, `sleepers`  look at the ring
//!   clear a bit, wake its owner      sleep if it is empty
//! ```
//!
//! Both write before they look, with a sequentially consistent fence between: at least one of the two sees what the other
//! wrote, so a task is never published to a pool that sleeps.
//!
//! Waking costs microseconds, so no worker is woken while a worker is *searching*: that one will look at the ring once more
//! before it sleeps. A worker that has found a task sets `searching` = 0, and after the fence looks whether there is more: then
//! it wakes another, since in the meantime publishers may have relied on it.
//!
//! The process that clears a bit owns the wake-up: it wakes the worker, or it is the worker itself, which has found work. If a worker
//! dies, the supervisor clears its bit and its `searching` and wakes another one, since a wake-up may have gone to the dead
//! one, or may not have been made because of it.

use crate::sys::sync::atomic::{AtomicU64, Ordering, fence};

/// The bits of the sleeping workers.
#[derive(Clone, Copy)]
pub(crate) struct Sleepers<'b>(pub(crate) &'b [AtomicU64]);

impl Sleepers<'_> {
    /// Worker: announces that it is going to sleep. It then sets `searching` = 0, calls [`settle`], and looks for work again.
    pub(crate) fn announce(&self, worker: u32) {
        let (index, bit) = place(worker);
        self.0[index].fetch_or(bit, Ordering::SeqCst);
    }

    /// Takes a worker's bit back. False if another thread has cleared it, and so is about to wake that worker.
    pub(crate) fn withdraw(&self, worker: u32) -> bool {
        let (index, bit) = place(worker);
        self.0[index].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Whether a worker has said that it sleeps, and nothing has woken it.
    pub(crate) fn is_asleep(&self, worker: u32) -> bool {
        let (index, bit) = place(worker);
        self.0[index].load(Ordering::SeqCst) & bit != 0
    }

    /// Takes the bit of a sleeping worker, which must then be woken; none if a worker is `awake`.
    pub(crate) fn pick(&self, workers: usize, awake: impl FnOnce() -> bool) -> Option<u32> {
        settle();
        let words = &self.0[..workers.div_ceil(64)];
        if words.iter().all(|word| word.load(Ordering::Relaxed) == 0) || awake() {
            return None;
        }
        for (index, word) in words.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                let before = word.fetch_and(!bit, Ordering::SeqCst);
                let worker = index as u32 * 64 + bit.trailing_zeros();
                // A bit of no worker was written by mistake, or by an attacker.
                if before & bit != 0 && (worker as usize) < workers {
                    return Some(worker);
                }
                bits = before & !bit;
            }
        }
        None
    }
}

/// Stands between what a side writes and what it looks at.
pub(crate) fn settle() {
    fence(Ordering::SeqCst);
}

fn place(worker: u32) -> (usize, u64) {
    (worker as usize / 64, 1 << (worker % 64))
}
