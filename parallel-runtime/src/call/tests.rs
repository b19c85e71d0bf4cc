//! An engine of another kind, in one file: what CONTRIBUTING.md says about adding one is all that it takes.

use std::any::Any;
use std::mem::MaybeUninit;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::batch_policy::Granularity;
use crate::backend::{Collector, OwnProcess, Target};
use crate::codec::{Reader, Writer};
use crate::error::TaskError;
use crate::function::remote::serve_at;
use crate::function::{Encode, Overflow, Placed, ResultWriter, ServeError};
use crate::ipc::board::Slot;
use crate::options::{CallOptions, WorkerOptions};
use crate::pool::AnyPool;
use crate::remote::backend::RemoteBackend;
use crate::remote::message::Snapshot;
use crate::remote::outcome::{Left, Outcome, ResultBytes};
use crate::remote::task_state::{Owner, TaskControl, TaskRef};
use crate::remote::transport::{Batch, NotSubmitted, Submitted, Transport};
use crate::task::as_completed;
use crate::wait::notify::Watcher;
use crate::{Pool, ProcessFn, parallel, scope};

/// A message is bytes.
#[derive(Debug)]
struct Bytes {
    /// The function's place in the executable.
    entry: u64,
    items: u32,
    arguments: Vec<u8>,
    /// Where slices lie in them that the function may change.
    marks: Vec<u64>,
}

/// Carries messages to a thread that knows nothing but their bytes.
#[derive(Debug)]
struct Loopback {
    messages: Mutex<Sender<(Bytes, TaskRef)>>,
    ends: Arc<Ends>,
}

/// Tasks end under this lock, and the thread that waits is told.
#[derive(Debug, Default)]
struct Ends(Mutex<()>, Condvar);

impl Ends {
    /// Has all look who wait: what they look at has changed before.
    fn tell(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.1.notify_all();
    }
}

/// Results have as much room as they need here.
struct NoRoom;

impl Overflow for NoRoom {
    fn overflow(&mut self, _done: u32, needed: usize, _encode: Encode<'_>) -> Result<Placed, ServeError> {
        Err(ServeError::OutOfSharedMemory { requested: needed as u64, available: 0 })
    }
}

/// Runs a message, and gives what came of it.
fn serve(message: Bytes) -> Outcome {
    let Bytes { entry, items, mut arguments, marks } = message;
    // SAFETY: a slot is atomics and bytes, for which zero is valid.
    let slot: Box<Slot> = Box::new(unsafe { std::mem::zeroed() });
    let mut room = vec![MaybeUninit::uninit(); 1 << 16];
    // SAFETY: the entry is that of a function of this executable, which this process is.
    let serve = unsafe { serve_at(entry) };
    // SAFETY: the bytes are there as long as the reader, and nothing else uses them.
    let reader = unsafe { Reader::from_raw(arguments.as_mut_ptr().cast_const(), arguments.len()) };
    // SAFETY: as above; nothing else touches them.
    let mut reader = unsafe { reader.lending() };
    let mut overflow = NoRoom;
    let mut results = ResultWriter::new(Writer::new(&mut room), &slot, 1, &mut overflow, None, None);
    let served = serve(&mut reader, &mut results, items);
    let (done, len) = (results.delivered(), results.len());
    drop(results);
    let mut outcome = Outcome { done, ..Outcome::default() };
    if let Err(error) = served {
        outcome.rare().error =
            Some(TaskError::Decode { function: "", what: "arguments", reason: format!("{error:?}") });
    }
    // SAFETY: the writer has written so many bytes.
    outcome.results = unsafe { ResultBytes::copy(room.as_ptr().cast(), len) };
    outcome.rare().arguments = Some(Left::Private(arguments, marks));
    outcome
}

impl Loopback {
    fn start() -> Self {
        let (messages, arrived) = mpsc::channel::<(Bytes, TaskRef)>();
        let ends = Arc::new(Ends::default());
        let theirs = Arc::clone(&ends);
        std::thread::spawn(move || {
            for (message, task) in arrived {
                let outcome = serve(message);
                let lock = theirs.0.lock().unwrap_or_else(PoisonError::into_inner);
                let watchers = task.finish(outcome);
                drop(lock);
                watchers.fire();
                theirs.tell();
            }
        });
        Self { messages: Mutex::new(messages), ends }
    }
}

impl Collector for Loopback {
    fn collect_done(&self) {}

    fn wait_until(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        let mut lock = self.ends.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !done() {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            lock = self.ends.1.wait_timeout(lock, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl TaskControl for Loopback {
    fn wait(&self, task: &TaskRef, deadline: Option<Instant>) -> Option<Outcome> {
        self.wait_until(deadline, &mut || task.is_finished()).then(|| task.take_outcome().unwrap_or_default())
    }

    fn watch(&self, task: &TaskRef, watcher: Watcher, _attend: bool) -> Result<(), Watcher> {
        let _lock = self.ends.0.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_finished() {
            return Err(watcher);
        }
        drop(task.add_watcher(watcher));
        Ok(())
    }

    fn cancel(&self, _task: &TaskRef) -> bool {
        false
    }

    fn kill_task(&self, _task: &TaskRef) -> bool {
        false
    }

    fn is_running(&self, task: &TaskRef) -> bool {
        !task.is_finished()
    }
}

impl Transport for Loopback {
    fn defaults(&self) -> CallOptions {
        CallOptions::NONE
    }

    fn worker_options(&self) -> WorkerOptions {
        WorkerOptions::NONE
    }

    fn workers(&self) -> usize {
        1
    }

    fn granularity(&self) -> &'static Granularity {
        &Granularity::BOARD
    }

    fn prepare(&self) -> Result<(), TaskError> {
        Ok(())
    }

    fn accept(&self, _again: bool) -> Result<Box<dyn Any + Send>, TaskError> {
        Ok(Box::new(()))
    }

    fn submit(&self, batch: Batch<'_>) -> Result<Submitted, NotSubmitted> {
        let Batch { function, items, owner, .. } = batch;
        let (first, count) = items.places();
        let mut room = vec![MaybeUninit::uninit(); 1 << 16];
        let mut writer = Writer::new(&mut room);
        // SAFETY: so many items of the function lie there.
        unsafe { (function.remote().send)(first, count, &mut writer) }.expect("items encode");
        let (len, marks) = (writer.len(), writer.take_marks());
        drop(writer);
        // SAFETY: the writer has written so many bytes.
        let arguments = unsafe { std::slice::from_raw_parts(room.as_ptr().cast::<u8>(), len) }.to_vec();
        let entry = function.remote().entry().expect("it is one of this executable");
        let owner = owner.map(|transport| Owner { engine: Arc::clone(transport) as _, function });
        let task = TaskRef::new(owner);
        let message = Bytes { entry, items: count as u32, arguments, marks };
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.send((message, task.clone())).expect("the thread runs");
        Ok(Submitted { task, before: Some(Snapshot::default()), bytes: len })
    }

    fn wake_waiters(&self) {
        self.ends.tell();
    }

    fn count_retry(&self) {}

    fn own_process(&self) -> Option<(Arc<dyn Transport>, Arc<dyn OwnProcess>)> {
        None
    }
}

#[derive(Debug)]
struct LoopbackPool(Target);

impl LoopbackPool {
    fn new() -> Self {
        Self(Arc::new(RemoteBackend::new(Loopback::start())))
    }
}

impl AnyPool for LoopbackPool {
    fn target(&self) -> &Target {
        &self.0
    }

    fn worker_options(&self) -> &WorkerOptions {
        &WorkerOptions::NONE
    }
}

impl<F: ProcessFn> Pool<F> for LoopbackPool {}

#[parallel(mode = "process")]
fn shout(text: &str, times: usize) -> String {
    assert!(times < 100, "too loud");
    text.to_uppercase().repeat(times)
}

#[parallel(mode = "process")]
fn where_it_runs() -> String {
    format!("{:?}", std::thread::current().id())
}

#[parallel(mode = "process")]
fn double(numbers: &mut [u64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

#[test]
fn an_engine_that_implements_transport_runs_all_verbs() {
    let pool = LoopbackPool::new();
    assert_ne!(where_it_runs::on(&pool).call(()), where_it_runs::inline());
    assert_eq!(shout::on(&pool).call(("a", 3)), "AAA");
    let texts: Vec<String> = (0..1000).map(|number| format!("a{number}")).collect();
    let expected: Vec<String> = texts.iter().map(|text| text.to_uppercase()).collect();
    assert_eq!(shout::on(&pool).map(texts.iter().map(|text| (text.as_str(), 1))), expected);
    let owned = || texts.iter().map(|text| (text.clone(), 1));
    assert_eq!(shout::on(&pool).map_async(owned()).join().unwrap(), expected);
    assert!(shout::on(&pool).imap(owned()).map(Result::unwrap).eq(expected.iter().cloned()));
    let unordered = shout::on(&pool).imap_unordered(owned());
    assert_eq!(unordered.map(|(index, text)| assert_eq!(text.unwrap(), expected[index])).count(), 1000);
    let tasks = (1..4).map(|times| shout::on(&pool).submit(("b".to_owned(), times)));
    let mut lengths: Vec<usize> = as_completed(tasks).map(|(_, result)| result.unwrap().len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 2, 3]);
    let mut numbers = vec![1, 2, 3];
    scope(|scope| _ = double::on(&pool).scoped(scope, &mut numbers));
    assert_eq!(numbers, [2, 4, 6]);
    drop(shout::on(&pool).stream(owned()));
}
