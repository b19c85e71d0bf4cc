//! Who lives.

use std::cell::Cell;
use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};

use super::tables::Token;

/// One process's view of a world of three.
pub(crate) struct Space {
    me: Token,
    living: Arc<Vec<AtomicU64>>,
}

impl Space {
    pub(crate) fn of_each() -> [Self; 3] {
        let living = Arc::new((0..3).map(|_| AtomicU64::new(1)).collect::<Vec<_>>());
        [0, 1, 2].map(|place| Self { me: Token::new(place, 7), living: Arc::clone(&living) })
    }

    /// From now on this thread is that process.
    pub(crate) fn begin(self) {
        PROCESS.with(|process| process.set(Some(Box::leak(Box::new(self)))));
    }

    /// That of the process which this thread is.
    pub(crate) fn current() -> &'static Self {
        PROCESS.with(Cell::get).expect("the thread was told which process it is")
    }

    pub(crate) fn me(&self) -> Token {
        self.me
    }

    pub(crate) fn is_living(&self, token: Token) -> bool {
        self.living[token.place() as usize].load(Ordering::SeqCst) != 0
    }

    /// Its process has ended.
    pub(crate) fn end(&self) {
        self.living[self.me.place() as usize].store(0, Ordering::SeqCst);
    }
}

loom::thread_local! {
    static PROCESS: Cell<Option<&'static Space>> = Cell::new(None);
}
