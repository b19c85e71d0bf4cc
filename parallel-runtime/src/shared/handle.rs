//! A process's hold on a shared object.
//!
//! All handles of an object in one process share one [`Handle`]. The program's last one asks the records whether another process has the
//! object; a worker's last one clears its bit.

use std::sync::atomic::{AtomicU32, Ordering};

/// What names an object in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    pub(crate) nonce: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// This process has the object.
pub(crate) struct Handle {
    pub(super) reference: Reference,
    /// Who may use it as an exclusive owner: [`AWAY`], [`SHARED`], or the number of the owner that was made last, which may be
    /// [`PROMISED`].
    pub(super) owner: AtomicU32,
    /// The numbers of owners given out.
    owners: AtomicU32,
}

/// No owner is here: none ever was, or it was sent away.
const AWAY: u32 = 0;

/// It is read by many, and has no exclusive owner any more.
pub(super) const SHARED: u32 = u32::MAX;

/// Set in an owner's number: it is in a message that goes off as soon as the owner is dropped. Until then it is an owner as before,
/// since there may be borrows of what it owns.
pub(super) const PROMISED: u32 = 1 << 31;

impl Handle {
    pub(super) fn new(reference: Reference) -> Self {
        Self { reference, owner: AtomicU32::new(AWAY), owners: AtomicU32::new(0) }
    }

    pub(crate) fn reference(&self) -> Reference {
        self.reference
    }

    /// Makes an exclusive owner, whose number this is. `None` if there is one, or if it is shared.
    pub(super) fn own(&self) -> Option<u32> {
        let number = self.owners.fetch_add(1, Ordering::Relaxed) % (PROMISED - 2) + 1;
        self.owner.compare_exchange(AWAY, number, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(number)
    }

    pub(super) fn change(&self, from: u32, to: u32) -> bool {
        self.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The owner, which nothing has borrowed, is sent away. False if it was before.
    pub(crate) fn send_away(&self, number: u32) -> bool {
        self.change(number, AWAY)
    }

    /// The owner is to be sent away when it is dropped. False if it was before.
    pub(crate) fn promise(&self, number: u32) -> bool {
        self.change(number, number | PROMISED)
    }

    /// Ends a promise. True if the owner is still there.
    pub(crate) fn end_promise(&self, number: u32) -> bool {
        self.change(number | PROMISED, number)
    }

    /// The owner is dropped.
    pub(super) fn drop_owner(&self, number: u32) {
        let _ = self.change(number, AWAY) || self.change(number | PROMISED, AWAY);
    }

    /// It could not be sent after all.
    pub(crate) fn take_back(&self, number: u32) {
        self.change(AWAY, number);
    }

    /// Whether it is read by many, and nothing changes it any more.
    #[cfg(feature = "dask")]
    pub(super) fn is_shared(&self) -> bool {
        self.owner.load(Ordering::Acquire) == SHARED
    }

    /// It has turned out to be shared. False if it has an exclusive owner here.
    pub(super) fn mark_shared(&self) -> bool {
        let before = self.owner.compare_exchange(AWAY, SHARED, Ordering::AcqRel, Ordering::Relaxed);
        matches!(before, Ok(_) | Err(SHARED))
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("reference", &self.reference).finish_non_exhaustive()
    }
}
