//! A failed task, run again alone: in the first thread, in place of `main`. See [`recording`](crate::remote::recording) for the other side.
//!
//! The process is like a worker that shares no objects with a program: calls inside the task run in place. It has no limits, no sandbox and no handlers
//! of signals, so that a crash is a crash, and a debugger sees it.

use std::ffi::{CStr, OsString};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::codec::{Reader, Writer};
use crate::function::init;
use crate::function::kept::{self, InPool};
use crate::function::pool_state;
use crate::function::remote::serve_at;
use crate::function::{Encode, Overflow, Placed, ResultWriter, ServeError};
use crate::ipc::board::Slot;
use crate::panics;
use crate::remote::message::as_uninit;
use crate::remote::recording::Saved;
use crate::shared::handle_table;
use crate::shared::{Arena, Block};
use crate::sys::{exit, role};
use crate::wait::executor;

/// The variable that makes a process run a saved task; its value is the path of the file.
pub(super) const VARIABLE: &str = "PARALLEL_REPLAY";
pub(super) const VARIABLE_C: &CStr = c"PARALLEL_REPLAY";

/// The exit code where there is no task to run.
const NO_TASK: i32 = 2;

/// The exit code of a task that panics: that of a program whose `main` does.
const PANICKED: i32 = 101;

/// Takes results that are too large for the room: they are encoded, and dropped.
struct Discard;

impl Overflow for Discard {
    fn overflow(&mut self, _done: u32, needed: usize, encode: Encode<'_>) -> Result<Placed, ServeError> {
        let mut bytes = Vec::with_capacity(needed);
        let mut writer = handle_table::carrying_results(Writer::new(bytes.spare_capacity_mut()));
        encode(&mut writer).map_err(ServeError::Encode)?;
        Ok(Placed::Apart)
    }
}

/// Says why there is nothing to run, and ends the process.
fn refuse(path: &Path, why: &str) -> ! {
    eprintln!("{VARIABLE}={}: {why}", path.display());
    exit::now(NO_TASK)
}

/// Runs the task in the file at a path, and ends the process.
pub(super) fn main(path: OsString) -> ! {
    let path = Path::new(&path);
    let saved = Saved::read(path).unwrap_or_else(|why| refuse(path, &why));
    role::become_worker();
    // Shared objects that the task makes are this process's own.
    role::become_isolated();
    // As in a worker, and in a program whose `main` is Rust's.
    exit::ignore_closed_pipes();
    for (name, value) in &saved.variables {
        // SAFETY: no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(name, value) };
    }
    let code = match panics::catch(|| run(&saved)) {
        Ok(Ok(())) => 0,
        Ok(Err(why)) => refuse(path, &why),
        // The hook has told.
        Err(_) => PANICKED,
    };
    kept::drop_all();
    let _ = std::io::stdout().flush();
    exit::in_order(code)
}

/// Memory of this process for bytes, aligned as a worker finds them.
fn place(bytes: &[u8]) -> Result<Block, String> {
    let arena = Arena::get().map_err(|error| error.to_string())?;
    let mut block = arena.take(bytes.len().max(1) as u64).map_err(|error| error.to_string())?;
    // SAFETY: nothing else knows of this block: it was just taken.
    let memory = unsafe { block.bytes_mut(bytes.len()) };
    memory.copy_from_slice(as_uninit(bytes));
    Ok(block)
}

/// Runs a task, with what its worker would have: `init`, the state of its pool, its own.
///
/// # Errors
///
/// In words, if it cannot be run.
fn run(saved: &Saved) -> Result<(), String> {
    if saved.init != 0 {
        // SAFETY: it was written as the offset of such a function by this build of the executable: its identity was compared.
        let init = unsafe { init::at(saved.init) };
        init::once_in_process(init);
    }
    if let Some((entry, configuration)) = &saved.state {
        // SAFETY: as above.
        let receive = unsafe { pool_state::receive_at(*entry) };
        let arguments = handle_table::Arguments::default();
        // SAFETY: the bytes live as long as the reader, and only copies are made from it.
        let reader = unsafe { Reader::from_raw(configuration.as_ptr(), configuration.len()) };
        let state = receive(&mut reader.receiving(&arguments))
            .map_err(|error| format!("the configuration of `state_with` cannot be read back: {error}"))?;
        // For the task, to the end of the process.
        std::mem::forget(InPool::new(Some(&Arc::new(state))));
    }
    // SAFETY: as above.
    let serve = unsafe { serve_at(saved.entry) };
    let block = place(&saved.arguments)?;
    let arguments = handle_table::Arguments::default();
    // SAFETY: so many bytes were written there, aligned as they need; they are the task's alone, which may change them.
    let reader = unsafe { Reader::from_raw(block.start().as_ptr(), saved.arguments.len()) };
    // SAFETY: as above; the block outlives the task.
    let mut reader = unsafe { reader.lending() }.receiving(&arguments);
    let slot = Slot::private();
    let mut discard = Discard;
    let mut room = [std::mem::MaybeUninit::uninit(); 1024];
    let mut results = ResultWriter::new(Writer::new(&mut room), &slot, 0, &mut discard, Some(&arguments), None);
    let mut served = serve(&mut reader, &mut results, 1);
    if let Some(future) = results.take_deferred() {
        served = served.and_then(|()| executor::drive(future)(&mut results));
    }
    match served {
        Ok(()) => Ok(()),
        Err(ServeError::Decode(error)) => {
            Err(format!("the arguments of `{}` cannot be read back: {error}", saved.function))
        }
        // It has run, and its result is wanted by nothing here.
        Err(ServeError::Encode(_) | ServeError::OutOfSharedMemory { .. }) => Ok(()),
    }
}
