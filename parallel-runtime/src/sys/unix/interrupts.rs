//! The signals by which a program is ended from outside: Ctrl-C (SIGINT) and SIGTERM.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::fault::{action_of, set_action};
use super::{address, clock};

const SIGNALS: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

/// System calls of the program go on; a thread with a small stack may have another one for signals.
const FLAGS: i32 = libc::SA_RESTART | libc::SA_ONSTACK;

/// The signal that has come; 0: none.
static RAISED: AtomicU32 = AtomicU32::new(0);

/// When it came, in nanoseconds.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// A signal that comes so many nanoseconds after the first is meant to end the program at once. `timeout` and the like send two in a row.
const AGAIN: u64 = 500_000_000;

/// The process whose thread waits for it: a child that was forked has no such thread.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Has `last` run on a thread of its own when one of the signals comes, and then lets it end the program, as it would have done. A signal that is
/// ignored now stays so, and one that the program handles, now or later, is the program's own. A second signal, half a second later or more, ends the program at once.
///
/// To be called once.
pub(crate) fn before_end(last: fn()) {
    let wait = move || {
        loop {
            let raised = RAISED.load(Ordering::Acquire);
            if raised == 0 {
                address::wait(&RAISED, 0, None);
                continue;
            }
            let signal = raised.cast_signed();
            // A handler that the program has set since then may have called ours.
            if action_of(signal) == Some(handler()) {
                last();
                end_by(signal);
            }
            RAISED.store(0, Ordering::Release);
        }
    };
    if std::thread::Builder::new().name("parallel-signals".to_owned()).spawn(wait).is_err() {
        return;
    }
    PROCESS.store(this_process(), Ordering::Relaxed);
    // What waking a sleeper has to look up is not looked up in the handler.
    address::prepare();
    for signal in SIGNALS {
        if action_of(signal) == Some(libc::SIG_DFL) {
            set_action(signal, handler(), FLAGS);
        }
    }
}

fn handler() -> libc::sighandler_t {
    on_signal as *const () as libc::sighandler_t
}

fn this_process() -> i32 {
    // SAFETY: `getpid` has no preconditions, and may be called in a handler.
    unsafe { libc::getpid() }
}

/// The handler: atomics, and system calls that a handler may make: `getpid`, `clock_gettime`, `sigaction`, waking a sleeper, `raise`.
extern "C" fn on_signal(signal: i32) {
    let error = errno();
    // SAFETY: it is this thread's.
    let before = unsafe { error.read() };
    let now = clock::now();
    if PROCESS.load(Ordering::Relaxed) != this_process() {
        end_at_once(signal);
    } else if RAISED.compare_exchange(0, signal.cast_unsigned(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        FIRST.store(now, Ordering::Relaxed);
        address::wake(&RAISED, 1);
    } else if now.saturating_sub(FIRST.load(Ordering::Relaxed)) >= AGAIN {
        end_at_once(signal);
    }
    // SAFETY: as above.
    unsafe { error.write(before) };
}

/// Has the signal end the process when the handler returns, unless it is another handler of the program's that has called this one.
fn end_at_once(signal: i32) {
    if action_of(signal) == Some(handler()) {
        set_action(signal, libc::SIG_DFL, 0);
        // SAFETY: `raise` may be called in a handler. The signal comes when the handler returns.
        unsafe { libc::raise(signal) };
    }
}

/// The error number of this thread.
fn errno() -> *mut i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: it has no preconditions.
    let place = unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: it has no preconditions.
    let place = unsafe { libc::__error() };
    place
}

/// Ends this process by a signal, as its default action does.
fn end_by(signal: i32) {
    set_action(signal, libc::SIG_DFL, 0);
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised, and the signal exists.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialised; a null pointer asks for nothing.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut()) };
    // SAFETY: `raise` has no preconditions. This thread does not block the signal.
    unsafe { libc::raise(signal) };
}
