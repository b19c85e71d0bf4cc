//! Catching the panics of tasks, with the place and the backtrace that a panic's payload does not carry.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::error::TaskError;

/// A panic that was caught.
pub(crate) struct Caught {
    pub(crate) payload: Box<dyn Any + Send>,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

/// What the panic hook saw.
#[derive(Default)]
struct Seen {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// How many tasks are running on this thread, one inside the other.
    static DEPTH: RefCell<u32> = const { RefCell::new(0) };
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// The payload of a panic that ends a task with an error of ours.
struct EndsAs(TaskError);

/// Ends the task that this thread runs with an error. Outside every task it is a panic with the same text.
pub(crate) fn end_task(error: TaskError) -> ! {
    if DEPTH.with_borrow(|depth| *depth > 0) {
        panic::resume_unwind(Box::new(EndsAs(error)));
    }
    panic!("{error}")
}

/// Runs `task`, and catches its panic.
pub(crate) fn catch<R>(task: impl FnOnce() -> R) -> Result<R, Caught> {
    install_hook();
    DEPTH.with_borrow_mut(|depth| *depth += 1);
    let result = panic::catch_unwind(AssertUnwindSafe(task));
    DEPTH.with_borrow_mut(|depth| *depth -= 1);
    result.map_err(|payload| {
        let seen = SEEN.take().unwrap_or_default();
        Caught { payload, location: seen.location, backtrace: seen.backtrace }
    })
}

/// Runs `last`, whose panic is ignored, and so is that of dropping the payload: where user values are dropped on
/// threads that must go on.
pub(crate) fn discard(last: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(last))
        && let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(payload);
    }
}

/// Puts a hook in front of the program's own that notes where a task panicked. The program's own still runs. A hook that the
/// program sets later replaces ours: panics are then reported without their place.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if DEPTH.try_with(|depth| *depth.borrow() > 0).unwrap_or(false) {
                let backtrace = Backtrace::capture();
                let seen = Seen {
                    location: info.location().map(ToString::to_string),
                    backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
                };
                let _ = SEEN.try_with(|slot| slot.replace(Some(seen)));
            }
            previous(info);
        }));
    });
}

/// The text of a panic's payload.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = plain_message(payload);
    if cfg!(not(feature = "tokio")) && text.starts_with("there is no reactor running") {
        return format!(
            "{text}: for the bodies of `async fn`s there is one with the feature `tokio` of parallel-runtime, `features = [\"tokio\"]`"
        );
    }
    text
}

fn plain_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is not a string".to_owned()
    }
}

impl Caught {
    /// The error of a task whose `init` panicked.
    pub(crate) fn into_init_error(self) -> TaskError {
        TaskError::Spawn(std::io::Error::other(self.init_failed()))
    }

    /// The same, as a text.
    pub(crate) fn init_failed(&self) -> String {
        let at = self.location.as_ref().map_or_else(String::new, |location| format!(" at {location}"));
        format!("`init` panicked{at}: {}", message(&*self.payload))
    }

    /// The error of a task whose `state` panicked.
    pub(crate) fn into_state_error(self, function: &str) -> TaskError {
        let this = match self.into_ending() {
            Ok(error) => return error,
            Err(this) => this,
        };
        let at = this.location.as_ref().map_or_else(String::new, |location| format!(" at {location}"));
        let why = format!("the `state` of `{function}` panicked{at}: {}", message(&*this.payload));
        TaskError::Spawn(std::io::Error::other(why))
    }

    /// The error with which [`end_task`] has ended the task.
    pub(crate) fn into_ending(self) -> Result<TaskError, Self> {
        match self.payload.downcast::<EndsAs>() {
            Ok(ending) => Ok(ending.0),
            Err(payload) => Err(Self { payload, ..self }),
        }
    }

    pub(crate) fn into_error(self, function: &'static str) -> TaskError {
        let this = match self.into_ending() {
            Ok(error) => return error,
            Err(this) => this,
        };
        this.into_panicked(function)
    }

    fn into_panicked(self, function: &'static str) -> TaskError {
        let message = message(&*self.payload);
        discard(|| drop(self.payload));
        TaskError::Panicked { function, message, location: self.location, backtrace: self.backtrace }
    }
}

/// Ends a blocking verb with the error of its task: a panic goes on as a panic with the same text, anything else becomes one.
#[track_caller]
pub(crate) fn resume(error: TaskError, function: &str) -> ! {
    match error {
        // The hook has run where it happened; running it again would print a second message for one panic.
        TaskError::Panicked { message, .. } => panic::resume_unwind(Box::new(message)),
        named if named.function().is_some() => panic!("{named}"),
        other => panic!("`{function}`: {other}"),
    }
}
