//! Which handles are in a container after a death.
//!
//! A worker says that it puts a handle into a container before it does, and that it has taken one out after it has. If it dies in
//! between, the books count one too many, and the object would stay until the container goes. So containers that a dead worker had are
//! looked through, under their locks. What is counted too often is set right as soon as nobody has the object beside containers: then
//! no other process can be in between.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::books::books;
use crate::shared::containers;

/// Containers that wait, by number and nonce; and whether a thread is at it.
static QUEUE: Mutex<(BTreeSet<(u32, u64)>, bool)> = Mutex::new((BTreeSet::new(), false));

/// Has containers looked through, on a thread of its own: their locks may be held for long, and there may be much in them.
pub(super) fn schedule(containers: BTreeSet<(u32, u64)>) {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    queue.0.extend(containers);
    if !queue.1 {
        // If there can be no thread now, the next one finds them.
        queue.1 = std::thread::Builder::new().name("parallel-recount".to_owned()).spawn(work).is_ok();
    }
}

fn work() {
    loop {
        let next = {
            let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
            queue.1 = !queue.0.is_empty();
            queue.0.pop_first()
        };
        let Some((id, nonce)) = next else { return };
        // A container that a process has written over panics, and stays as it is.
        let _ = catch_unwind(AssertUnwindSafe(|| recount(id, nonce)));
    }
}

/// Looks through one container.
pub(in crate::shared) fn recount(id: u32, nonce: u64) {
    let (held, kind) = {
        let mut books = books();
        let Some(held) = books.adopt(id, nonce) else { return };
        (held, books.entries[id as usize].kind)
    };
    if let Some(kind) = kind {
        containers::with_handles(held, kind, |found| books().correct(id, found));
    }
}
