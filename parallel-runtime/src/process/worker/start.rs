//! From the hook to the first task.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::core::Worker;
use super::usage::Usage;
use super::{end, fault, identity};
use crate::codec::Reader;
use crate::error::TaskError;
use crate::function;
use crate::function::kept::InPool;
use crate::function::pool_state;
use crate::ipc::board::layout::phase;
use crate::ipc::board::{Board, Layout, Record};
use crate::ipc::control::ControlRequest;
use crate::ipc::link::{self, InPhase};
use crate::options::Keep;
use crate::panics;
use crate::process::welcome::Welcome;
use crate::sandbox::Allowed;
use crate::shared::handle_table;
use crate::shared::{Arena, Space, Token};
use crate::sys::channel::{Channel, End};
use crate::sys::fault as signals;
use crate::sys::segment::Segment;
use crate::sys::{clock, descriptors, exit, fork, futex, lifetime, limits, peer, processes, role, sandbox, streams};

/// The stack of the thread that runs tasks, in bytes: that of a main thread, unless `RUST_MIN_STACK` says otherwise.
const STACK: usize = 8 << 20;

/// Exit code of a worker that could not start.
const CANNOT_START: i32 = 70;

/// Exit code of a worker whose thread ended by a panic outside every task.
const PANICKED: i32 = 101;

/// How long the end of a worker is put off for what it has still to print: on a busy machine a thread may have to wait for its turn.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Everything that a worker process does.
pub(in crate::process) fn main() -> ! {
    // SAFETY: no code of the user's has run in this process, and nothing of ours reads its standard input.
    let mut channel = unsafe { Channel::from_input() };
    let (end, record) = match become_worker(&mut channel) {
        Ok(welcomed) => start(Box::leak(Box::new(channel)), welcomed),
        Err(error) => {
            let _ = writeln!(io::stderr(), "parallel-runtime: a worker process could not start: {error}");
            let _ = ControlRequest::Failed(error.to_string()).send(&channel);
            exit::now(CANNOT_START);
        }
    };
    end.wait();
    end::ask_for(record);
    flush();
    exit::with_group()
}

/// Writes out what tasks have printed without the end of a line; but does not wait for a task that is printing just now.
fn flush() {
    let (tell, told) = mpsc::channel();
    let flusher = std::thread::Builder::new().spawn(move || {
        let _ = io::stdout().flush();
        let _ = tell.send(());
    });
    if flusher.is_ok() {
        let _ = told.recv_timeout(LAST_WORDS);
    }
}

fn cannot_start(channel: &Channel, why: &str) -> ! {
    let _ = ControlRequest::Failed(why.to_owned()).send(channel);
    exit::now(CANNOT_START)
}

/// What a worker knows when it is one.
struct Welcomed {
    welcome: Welcome,
    allowed: Allowed,
    segment: &'static Segment,
    board: &'static Board,
}

/// Sets the process up.
fn become_worker(channel: &mut Channel) -> io::Result<Welcomed> {
    lifetime::end_with_program();
    signals::prepare_signals();
    futex::prepare();
    streams::open_all()?;
    peer::check_parent(channel)?;
    let (welcome, arena, inherited, allowed) = Welcome::receive(channel)?;
    for there in inherited {
        // SAFETY: what the program had open without close-on-exec is of no use to this process, in which no code of the user's has run.
        unsafe { descriptors::close(there) };
    }
    let segment = Segment::open(arena, welcome.arena_len, welcome.arena_scarce != 0)?;
    let segment: &'static Segment = Box::leak(Box::new(segment));
    let layout = Layout { workers: welcome.workers, slots: welcome.slots };
    // SAFETY: the program made a board of this layout at this offset of this segment, which is never unmapped.
    let board = unsafe { Board::new(segment.at(welcome.board_offset), layout) };
    let board: &'static Board = Box::leak(Box::new(board));
    if welcome.sandbox == 0 {
        lifetime::end_group_with_program();
    }
    Space::set_messages(segment);
    // A task may fork: its child must not let go of what this process has.
    fork::watch();
    if welcome.sandbox != 0 {
        sandbox::close_inherited()?;
        crate::sandbox::will_be_on();
        // Before the sandbox closes: where the clock can be read without a system call is found out at its first use.
        let _ = (clock::coarse(), clock::now());
    }
    if welcome.isolated != 0 {
        // Shared objects that tasks make are this process's own.
        role::become_isolated();
        Arena::get()?;
    } else {
        Space::set(segment, Token::from_bits(welcome.token), false);
    }
    #[cfg(feature = "dask")]
    if welcome.far != 0 {
        crate::shared::handle_table::set_far_away();
    }
    let name = welcome.name();
    processes::name_thread(&std::ffi::CString::new(name.clone()).unwrap_or_default());
    identity::set(name, welcome.worker);
    channel.move_from_input()?;
    Ok(Welcomed { welcome, allowed, segment, board })
}

/// Starts the thread of the tasks. Gives what waits for the end of the program.
fn start(channel: &'static Channel, welcomed: Welcomed) -> (End<'static>, &'static Record) {
    let end = channel.watch_end().unwrap_or_else(|error| cannot_start(channel, &error.to_string()));
    let Welcomed { welcome, allowed, segment, board } = welcomed;
    link::open(channel, board, welcome.worker);

    let mut thread = std::thread::Builder::new().name("parallel-worker".to_owned());
    if std::env::var_os("RUST_MIN_STACK").is_none() {
        thread = thread.stack_size(STACK);
    }
    let (tell_prepared, prepared) = mpsc::channel();
    let (tell_confined, confined) = mpsc::channel();
    let sandboxed = welcome.sandbox != 0;
    let spawned = thread.spawn(move || {
        struct NeverReturn;
        impl Drop for NeverReturn {
            fn drop(&mut self) {
                exit::now(PANICKED);
            }
        }
        let _never_return = NeverReturn;
        let usage = prepare(&welcome, (board, segment), channel, &allowed, &(tell_prepared, confined))
            .unwrap_or_else(|error| cannot_start(channel, &error));
        let usage = usage.map(|usage| &*Box::leak(Box::new(usage)));
        crate::observe::worker_events::worker::begin();
        Worker::new(board, segment, &welcome, channel, usage).run();
    });
    if let Err(error) = spawned {
        cannot_start(channel, &format!("its thread for tasks cannot be started: {error}"));
    }
    if sandboxed && let Ok(allowed) = prepared.recv() {
        // This thread could be made to do what the other one may not: so it gives up the same rights, before the first task.
        if let Err(error) = sandbox::confine_thread(&allowed.read, &allowed.write) {
            cannot_start(channel, &format!("the sandbox cannot be set up: {error}"));
        }
        let _ = tell_confined.send(());
    }
    (end, board.record(welcome.worker))
}

/// Makes what this worker keeps from its start on.
fn keep_at_once(welcome: &Welcome, segment: &Segment, channel: &Channel) -> Result<(), String> {
    let mut keeps: Vec<Keep> = Vec::new();
    if welcome.state_entry != 0 {
        // SAFETY: the program has it from `PoolState::entry`, and runs the same executable.
        let receive = unsafe { pool_state::receive_at(welcome.state_entry) };
        let start = segment.at(welcome.state_offset).as_ptr().cast_const();
        let arguments = handle_table::Arguments::default();
        // SAFETY: the program wrote so many bytes there, aligned as they need, and nothing writes them as long as the pool is there, which may be read as
        // often as there are workers.
        let mut reader = unsafe { Reader::from_raw(start, welcome.state_len as usize) }.receiving(&arguments);
        let state = panics::catch(|| receive(&mut reader));
        let state = match state {
            Ok(Ok(state)) => state,
            Ok(Err(error)) => return Err(format!("the configuration of `state_with` cannot be read back: {error}")),
            Err(caught) => return Err(caught.into_error("state_with").to_string()),
        };
        let state = Arc::new(state);
        if welcome.sandbox != 0 {
            keeps.push(state.keep());
        }
        // For all tasks of this thread.
        std::mem::forget(InPool::new(Some(&state)));
    }
    // SAFETY: the program has them from `kept_at_once`, and runs the same executable.
    keeps.extend(welcome.keeps.iter().filter(|keep| **keep != 0).map(|keep| unsafe { function::init::keep_at(*keep) }));
    if !keeps.is_empty() {
        let _ = ControlRequest::Hello.send(channel);
    }
    keeps.into_iter().try_for_each(|keep| {
        keep().map_err(|error| match error {
            TaskError::Spawn(why) => why.to_string(),
            other => other.to_string(),
        })
    })
}

/// What the tasks' thread does before it takes tasks: limits, `init`, sandbox.
fn prepare(
    welcome: &Welcome,
    (board, segment): (&Board, &Segment),
    channel: &Channel,
    allowed: &Allowed,
    other_thread: &(Sender<Allowed>, Receiver<()>),
) -> Result<Option<Usage>, String> {
    if welcome.sandbox == 0 {
        lifetime::go_on_when_program_ends();
    }
    // SAFETY: the board lies in the arena, which a worker never unmaps.
    unsafe { fault::install(board.record(welcome.worker)) };
    let mut usage = None;
    if welcome.memory_limit != 0 {
        let made = Usage::new(welcome.memory_limit).map_err(|error| error.to_string())?;
        // A task that is not confined may start a process with a higher limit.
        let for_good = welcome.sandbox != 0;
        limits::set(made.most(), for_good).map_err(|error| format!("`memory_limit` cannot be set: {error}"))?;
        usage = Some(made);
    } else if welcome.isolated != 0 && welcome.sandbox == 0 {
        // A worker has started this process: the limit that it has inherited is the worker's own.
        limits::lift();
    }
    if welcome.init != 0 {
        // It may take its time: the program is told that this is a worker of its own.
        let _ = ControlRequest::Hello.send(channel);
        let _phase = InPhase::new(phase::INIT);
        // SAFETY: the program put it there with `image::offset_of`, and runs the same executable.
        let init = unsafe { function::init::at(welcome.init) };
        panics::catch(|| crate::function::init::once_in_process(init)).map_err(|caught| caught.init_failed())?;
        let _ = io::stdout().flush();
    }
    keep_at_once(welcome, segment, channel)?;
    if let Some(usage) = &usage {
        usage.init_is_over();
    }
    if welcome.sandbox != 0 {
        sandbox::check_threads()
            .and_then(|()| sandbox::confine_thread(&allowed.read, &allowed.write))
            .map_err(|error| format!("the sandbox cannot be set up: {error}"))?;
        let _ = other_thread.0.send(allowed.clone());
        // If that fails the process ends.
        let _ = other_thread.1.recv();
        crate::sandbox::is_on(allowed);
    }
    Ok(usage)
}
