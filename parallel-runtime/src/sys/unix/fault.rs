//! Signals in a worker: those that it must survive, and a note of why it dies.
//!
//! The standard library installs its handler for stack overflows before `main`, which a worker never reaches. Ours notes the signal and the address of
//! the fault, and lets the fault happen again with the default action: so exit status and core dump are what they would be without it.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{exit, signals, stack_bounds};

/// The signals of a processor fault.
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// Bytes of the stack on which the handler runs when the thread's own is used up.
const SIGNAL_STACK: usize = 64 << 10;

/// How far below its stack a function with large local variables may reach in one step.
const STEP: usize = 1 << 20;

/// How far above the end of the stack its guard pages may reach.
const GUARD: usize = 64 << 10;

/// What notes a fault: see [`install`].
static NOTE: OnceLock<Note> = OnceLock::new();

/// Notes the signal and the address of a fault, and whether that is at the end of the stack of tasks.
pub(crate) type Note = fn(signal: u32, address: u64, in_stack: bool);

/// The lowest address of the tasks' stack.
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Signals are as a new process has them: none is blocked or ignored because the program, or its thread that started this one, does so.
///
/// A program decides what Ctrl-C means; its workers end when it does. Writing to a closed pipe is an error, not a death.
pub(crate) fn prepare_signals() {
    // SAFETY: all zeros is a valid `sigset_t`, the empty one.
    let none: libc::sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the set is valid, and the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
    for signal in 1..=signals::last() {
        if action_of(signal).is_some_and(|action| action == libc::SIG_IGN) {
            set_action(signal, libc::SIG_DFL, 0);
        }
    }
    // A handler and not `SIG_IGN`, which programs that a task starts would inherit: they end by Ctrl-C like any other.
    set_action(libc::SIGINT, nothing as *const () as usize, libc::SA_RESTART);
    // Its group is not that of the terminal's foreground: what it prints, and what its tasks' programs do there, must not stop it.
    set_action(libc::SIGTTOU, libc::SIG_IGN, 0);
    set_action(libc::SIGTTIN, libc::SIG_IGN, 0);
    // This one is set back to its default by `std::process::Command`.
    set_action(libc::SIGPIPE, libc::SIG_IGN, 0);
}

/// What tasks have started ends with this process when it gets SIGHUP: by the kernel when the program has ended.
pub(crate) fn end_group_on_hang_up() {
    set_action(libc::SIGHUP, end_group_on_signal as *const () as usize, 0);
}

extern "C" fn end_group_on_signal(_signal: i32) {
    exit::end_group();
}

extern "C" fn nothing(_signal: i32) {}

/// Notes faults from now on. To be called on the thread of the tasks.
///
/// # Safety
///
/// `note` does only what a signal handler may: it stores to atomics.
pub(crate) unsafe fn install(note: Note) {
    let _ = NOTE.set(note);
    STACK_END.store(stack_bounds::of_this_thread().map_or(0, |bounds| bounds.lowest), Ordering::Relaxed);
    let stack: &'static mut [MaybeUninit<u8>] = Box::leak(Box::new_uninit_slice(SIGNAL_STACK));
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIGNAL_STACK };
    // SAFETY: `stack` is valid, and its memory is never freed nor used for anything else.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    for signal in FAULTS {
        // A sanitizer, or a library's constructor, may have a handler of its own.
        if is_default(signal) {
            set_action(signal, on_fault as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
        }
    }
}

fn is_default(signal: i32) -> bool {
    action_of(signal) == Some(libc::SIG_DFL)
}

/// What a signal does now. `None` if there is no such signal.
pub(super) fn action_of(signal: i32) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer asks for the action that is set, which is written to `action`.
    let result = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid `sigaction`, and so is what the call wrote.
    let action = unsafe { action.assume_init() };
    (result == 0).then_some(action.sa_sigaction)
}

pub(super) fn set_action(signal: i32, handler: libc::sighandler_t, flags: i32) {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is valid, and its handler is `SIG_IGN`, `SIG_DFL` or a function of the kind that its flags say, which does
    // only what a signal handler may.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// The handler: atomics and `sigaction` only, both of which a handler may use.
extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with `SA_SIGINFO`.
    let info = unsafe { &*info };
    // It may have been sent (`kill`, `raise`): then there is no address.
    let is_fault = signals::is_fault(info.si_code);
    if let (true, Some(note)) = (is_fault, NOTE.get()) {
        // SAFETY: the signals of `FAULTS` come with an address where the processor has raised them.
        let address = unsafe { info.si_addr() }.addr();
        let end = STACK_END.load(Ordering::Relaxed);
        let in_stack = end != 0 && address >= end.saturating_sub(STEP) && address < end + GUARD;
        note(signal.cast_unsigned(), address as u64, in_stack);
    }
    // The instruction runs again after this, and faults again; a signal that was sent is sent again.
    set_action(signal, libc::SIG_DFL, 0);
    if !is_fault {
        // SAFETY: `raise` may be called in a handler.
        unsafe { libc::raise(signal) };
    }
}
