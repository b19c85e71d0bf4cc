//! Which handles are in a container after a death.
//!
//! A worker says that it puts a handle into a container before it does, and that it has taken one out after it has. If it dies in
//! between, the records count one too many, and the object would stay until the container goes. So containers that a dead worker had are
//! looked through, under their locks. What is counted too often is set right as soon as nothing has the object beside containers: then
//! no other process can be in between. And not before all has been read that processes have said of handles that they took out, which
//! they say while they still have them.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::container::Container;
use super::{list, queue, table};
use crate::shared::handle::Handle;
use crate::shared::objects;
use crate::shared::tables::Kind;

/// How long to wait for what has been said to be read, and how often: a worker that says nonsense must not hold this thread up.
const PAUSE: Duration = Duration::from_millis(2);
const MOST_LOOKS: u32 = 500;

/// Containers that wait, by number and nonce; and whether a thread is at it.
static QUEUE: Mutex<(BTreeSet<(u32, u64)>, bool)> = Mutex::new((BTreeSet::new(), false));

/// From now on containers are looked through after a death.
pub(crate) fn enable() {
    objects::set_sweep(schedule);
}

/// Has containers looked through, on a thread of its own: their locks may be held for long, and there may be much in them.
fn schedule(containers: BTreeSet<(u32, u64)>) {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    queue.0.extend(containers);
    if !queue.1 {
        // If there can be no thread now, the next one finds them.
        queue.1 = std::thread::Builder::new().name("parallel-sweep".to_owned()).spawn(work).is_ok();
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
        let look = || {
            (0..MOST_LOOKS).any(|_| {
                sweep(id, nonce) || {
                    std::thread::sleep(PAUSE);
                    false
                }
            })
        };
        let _ = catch_unwind(AssertUnwindSafe(look));
    }
}

/// Looks through one container. False if something has been said that has not been read.
pub(super) fn sweep(id: u32, nonce: u64) -> bool {
    let Some((handle, kind)) = objects::container(id, nonce) else { return true };
    let correct = |kind| with_handles(handle, kind, |found| objects::correct(id, found));
    kind.and_then(correct).unwrap_or(true)
}

/// Finds which handles are in a container, and how many of each object, and has it used under the container's lock.
fn with_handles<R>(handle: Arc<Handle>, kind: Kind, use_them: impl FnOnce(&HashMap<u32, u64>) -> R) -> Option<R> {
    let container = Container::of(handle)?;
    let (open, nodes) = match kind {
        Kind::Dict => {
            let open = container.open(table::mend);
            let nodes = table::nodes(&open);
            (open, nodes)
        }
        Kind::List => {
            let open = container.open(list::mend);
            let nodes = list::nodes(&open);
            (open, nodes)
        }
        Kind::Queue => {
            let open = container.open(queue::mend);
            let nodes = queue::nodes(&open);
            (open, nodes)
        }
        _ => return None,
    };
    let mut found = HashMap::new();
    for id in nodes.iter().flat_map(|node| node.objects(open.heap)) {
        *found.entry(id).or_default() += 1;
    }
    Some(use_them(&found))
}
