//! How a worker goes to sleep, and how it is woken.
//!
//! ```text
//!   program                          worker
//!   publish the task                 set my bit in `sleepers`
//!   ── fence ──                      ── fence ──
//!   look at `sleepers`               look at the ring
//!   clear a bit, wake its owner      sleep if it is empty
//! ```
//!
//! Both write before they look, with a sequentially consistent fence between: at least one of the two sees what the other
//! wrote, so a task is never published to a pool that sleeps. Whoever clears a bit owns the wake-up: the program clears it and
//! wakes the worker, or the worker clears it itself because it found work. If a worker dies with its bit set, the supervisor
//! clears the bit and wakes another worker, since a wake-up may have gone to the dead one.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// The bits of the sleeping workers.
#[derive(Clone, Copy)]
pub(crate) struct Sleepers<'b>(pub(crate) &'b [AtomicU64]);

impl Sleepers<'_> {
    /// Worker: announces that it is going to sleep. It must then look for work once more.
    pub(crate) fn announce(&self, worker: u32) {
        let (index, bit) = place(worker);
        self.0[index].fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Takes a worker's bit back. False if somebody else has cleared it, and so is about to wake that worker.
    pub(crate) fn withdraw(&self, worker: u32) -> bool {
        let (index, bit) = place(worker);
        self.0[index].fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Program, after it has published: takes the bit of a sleeping worker, which must then be woken.
    pub(crate) fn pick(&self, workers: usize) -> Option<u32> {
        fence(Ordering::SeqCst);
        for (index, word) in self.0.iter().enumerate().take(workers.div_ceil(64)) {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                let before = word.fetch_and(!bit, Ordering::SeqCst);
                if before & bit != 0 {
                    return Some(index as u32 * 64 + bit.trailing_zeros());
                }
                bits = before & !bit;
            }
        }
        None
    }
}

fn place(worker: u32) -> (usize, u64) {
    (worker as usize / 64, 1 << (worker % 64))
}
