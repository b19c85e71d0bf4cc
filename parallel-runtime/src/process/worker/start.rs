//! From the hook to the first task.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Resource, Rlimit};

use super::core::{Control, Worker};
use super::usage::Usage;
use super::{end, fault, identity, sandbox};
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
use crate::sys::segment::Segment;
use crate::sys::{clock, descriptors, exit, fork, peer, role};

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
    let (epoll, record) = match start() {
        Ok(started) => started,
        Err(error) => {
            let _ = writeln!(io::stderr(), "parallel-runtime: a worker process could not start: {error}");
            // Where the control socket is, depends on how far we have come.
            let _ = ControlRequest::Failed(error.to_string()).send(rustix::stdio::stdin());
            exit::now(CANNOT_START);
        }
    };
    // Not a blocking read: that would keep the socket open after a task has closed its descriptor, and the program, which has
    // to replace such a worker, would not notice.
    let mut events = [std::mem::MaybeUninit::uninit(); 1];
    loop {
        match epoll::wait(&epoll, &mut events, None) {
            // The program has closed its end.
            Ok(_) => {
                end::ask_for(record);
                flush();
                exit::with_group()
            }
            Err(rustix::io::Errno::INTR) => {}
            // A task has closed what it should have kept. The program ends this process, or the kernel does when the program ends.
            Err(_) => std::thread::sleep(Duration::from_secs(3600)),
        }
    }
}

/// Writes out what tasks have printed without the end of a line; but does not wait for a task that is printing just now.
fn flush() {
    let (tell, told) = channel();
    let flusher = std::thread::Builder::new().spawn(move || {
        let _ = io::stdout().flush();
        let _ = tell.send(());
    });
    if flusher.is_ok() {
        let _ = told.recv_timeout(LAST_WORDS);
    }
}

fn cannot_start(control: &Control, why: &str) -> ! {
    let _ = ControlRequest::Failed(why.to_owned()).send(control.socket.as_fd());
    exit::now(CANNOT_START)
}

/// If the program has closed a standard stream, what this process opens next would take its number, and be what tasks print to.
fn open_standard_streams() -> io::Result<()> {
    loop {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It takes the place of the stream that is missing, for good, and for programs that tasks start.
        rustix::io::fcntl_setfd(&null, rustix::io::FdFlags::empty())?;
        let _ = null.into_raw_fd();
    }
}

/// Sets the process up and starts the thread of the tasks.
fn start() -> io::Result<(OwnedFd, &'static Record)> {
    // Even a worker that is stopped, or has closed its socket, ends with the program. The signal comes at the end of the *thread*
    // that started this process: that is the supervisor's, which lives as long as the program. If the program has ended
    // before this call, the socket says so.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    fault::prepare_signals();
    open_standard_streams()?;
    peer::check_parent(rustix::stdio::stdin())?;
    let (welcome, arena, inherited, allowed) = Welcome::receive(rustix::stdio::stdin())?;
    for there in inherited {
        // SAFETY: what the program had open without close-on-exec is of no use to this process, in which no code of the user's has run.
        unsafe { descriptors::close(there) };
    }
    let segment: &'static Segment =
        Box::leak(Box::new(Segment::open(arena.as_fd(), welcome.arena_len, welcome.arena_scarce != 0)?));
    drop(arena);
    let layout = Layout { workers: welcome.workers, slots: welcome.slots };
    // SAFETY: the program made a board of this layout at this offset of this segment, which is never unmapped.
    let board = unsafe { Board::new(segment.at(welcome.board_offset), layout) };
    if welcome.sandbox == 0 {
        // Not what is confined, which starts nothing and could ignore a signal. The thread of the tasks asks for another signal, by which a process
        // that is stopped goes on, and sees this one.
        fault::end_group_with_program();
        let _ = rustix::process::set_parent_process_death_signal(Some(fault::PROGRAM_ENDED));
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
    let thread_name = std::ffi::CString::new(name.clone()).unwrap_or_default();
    let _ = rustix::thread::set_name(&thread_name);
    identity::set(name, welcome.worker);
    // The socket moves out of the way of the standard streams; tasks that read their input find nothing there.
    let null = std::fs::File::open("/dev/null")?;
    // High up, where no number is that something in the environment names (as `make` does for its jobs).
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 100)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Not what comes in: answers are for the thread of the tasks.
    epoll::add(&epoll, &socket, EventData::new_u64(0), EventFlags::RDHUP)?;
    let control: &'static Control = Box::leak(Box::new(Control { socket }));
    let board: &'static Board = Box::leak(Box::new(board));
    link::open(control.socket.as_fd(), board, welcome.worker);
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);

    let mut thread = std::thread::Builder::new().name("parallel-worker".to_owned());
    if std::env::var_os("RUST_MIN_STACK").is_none() {
        thread = thread.stack_size(STACK);
    }
    let (tell_prepared, prepared) = channel();
    let (tell_confined, confined) = channel();
    let sandboxed = welcome.sandbox != 0;
    let spawned = thread.spawn(move || {
        struct NeverReturn;
        impl Drop for NeverReturn {
            fn drop(&mut self) {
                exit::now(PANICKED);
            }
        }
        let _never_return = NeverReturn;
        let usage = prepare(&welcome, (*board, segment), control, &allowed, &(tell_prepared, confined))
            .unwrap_or_else(|error| cannot_start(control, &error));
        let usage = usage.map(|usage| &*Box::leak(Box::new(usage)));
        crate::observe::worker_events::worker::begin();
        Worker::new(board, segment, &welcome, control, usage).run();
    });
    if let Err(error) = spawned {
        cannot_start(control, &format!("its thread for tasks cannot be started: {error}"));
    }
    if sandboxed && let Ok(allowed) = prepared.recv() {
        // This thread could be made to do what the other one may not: so it gives up the same rights, before the first task.
        if let Err(error) = sandbox::confine_thread(&allowed) {
            cannot_start(control, &format!("the sandbox cannot be set up: {error}"));
        }
        let _ = tell_confined.send(());
    }
    Ok((epoll, board.record(welcome.worker)))
}

/// Makes what this worker keeps from its start on.
fn keep_at_once(welcome: &Welcome, segment: &Segment, control: &Control) -> Result<(), String> {
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
        let _ = ControlRequest::Hello.send(control.socket.as_fd());
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
    (board, segment): (Board, &Segment),
    control: &Control,
    allowed: &Allowed,
    other_thread: &(Sender<Allowed>, Receiver<()>),
) -> Result<Option<Usage>, String> {
    if welcome.sandbox == 0 {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT));
    }
    // SAFETY: the board lies in the arena, which a worker never unmaps.
    unsafe { fault::install(board.record(welcome.worker)) };
    let mut usage = None;
    if welcome.memory_limit != 0 {
        let made = Usage::new(welcome.memory_limit)
            .map_err(|error| format!("the memory of this process cannot be read from /proc/self/statm: {error}"))?;
        let most = Some(made.most());
        let hard = rustix::process::getrlimit(Resource::Data).maximum;
        // A task that is not confined may start a process with a higher limit.
        let maximum = if welcome.sandbox == 0 { hard } else { most };
        let current = if let (Some(most), Some(hard)) = (most, hard) { Some(most.min(hard)) } else { most };
        rustix::process::setrlimit(Resource::Data, Rlimit { current, maximum })
            .map_err(|error| format!("`memory_limit` cannot be set: {error}"))?;
        usage = Some(made);
    } else if welcome.isolated != 0 && welcome.sandbox == 0 {
        // A worker has started this process: the limit that it has inherited is the worker's own.
        let hard = rustix::process::getrlimit(Resource::Data).maximum;
        let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current: hard, maximum: hard });
    }
    if welcome.init != 0 {
        // It may take its time: the program is told that this is a worker of its own.
        let _ = ControlRequest::Hello.send(control.socket.as_fd());
        let _phase = InPhase::new(phase::INIT);
        // SAFETY: the program put it there with `image::offset_of`, and runs the same executable.
        let init = unsafe { function::init::at(welcome.init) };
        panics::catch(|| crate::function::init::once_in_process(init)).map_err(|caught| caught.init_failed())?;
        let _ = io::stdout().flush();
    }
    keep_at_once(welcome, segment, control)?;
    if let Some(usage) = &usage {
        usage.init_is_over();
    }
    if welcome.sandbox != 0 {
        sandbox::check_threads()
            .and_then(|()| sandbox::confine_thread(allowed))
            .map_err(|error| format!("the sandbox cannot be set up: {error}"))?;
        let _ = other_thread.0.send(allowed.clone());
        // If that fails the process ends.
        let _ = other_thread.1.recv();
        crate::sandbox::is_on(allowed);
    }
    Ok(usage)
}
