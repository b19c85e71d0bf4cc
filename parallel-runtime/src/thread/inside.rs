//! Which pools' tasks a thread is in the middle of.

use std::cell::RefCell;
use std::sync::Arc;

use crate::function::kept::InPool;
use crate::function::pool_state::PoolState;

/// This thread is inside a task of a pool as long as this lives.
pub(super) struct Inside {
    _state: InPool,
}

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Inside {
    /// `state`: what its tasks find here, if the pool says so.
    pub(super) fn new(pool: u64, state: Option<&Arc<PoolState>>) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push(pool));
        Self { _state: InPool::new(state) }
    }

    /// How many tasks of a pool this thread is inside of.
    pub(super) fn count(pool: u64) -> usize {
        INSIDE.with_borrow(|inside| inside.iter().filter(|other| **other == pool).count())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(|inside| _ = inside.pop());
    }
}
