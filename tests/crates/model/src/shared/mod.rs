//! What processes share: the lock, and those who wait for each other.

#[path = "../../../../../parallel-runtime/src/shared/lock.rs"]
pub(crate) mod lock;
pub(crate) mod space;
pub(crate) mod sync;
#[path = "../../../../../parallel-runtime/src/shared/tables.rs"]
pub(crate) mod tables;

/// What is said to users.
pub(crate) mod broken {
    #[derive(Debug, PartialEq)]
    pub(crate) struct BrokenBarrier;
}

/// All that is named as a holder holds.
pub(crate) mod holds {
    pub(crate) fn add<L>(_lock: &L) {}
    pub(crate) fn remove<L>(_lock: &L) {}
    pub(crate) fn may_hold<L>(_lock: &L) -> bool {
        true
    }
    pub(crate) struct Turn;
    pub(crate) fn turn() -> Turn {
        Turn
    }
    pub(crate) fn ask_program<L>(_space: &super::space::Space, _lock: &L) {}
}

pub(crate) mod or_panic {
    pub(crate) fn or_panic<T>(result: Result<T, crate::error::TaskError>) -> T {
        result.unwrap_or_else(|error| match error {})
    }
}
