//! Who lives.

use loom::sync::Arc;
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
