//! Signals in a worker: those that it must survive, and a note of why it dies.
//!
//! The standard library installs its handler for stack overflows before `main`, which a worker never reaches. Ours writes the
//! signal and the address of the fault into the worker's record, where the program finds them after the death, and lets the
//! fault happen again with the default action: so exit status and core dump are what they would be without it.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::ipc::board::Record;
use crate::sys::exit;

/// The signals of a processor fault.
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

/// Bytes of the stack on which the handler runs when the thread's own is used up.
const SIGNAL_STACK: usize = 64 << 10;

/// How far below its stack a function with large local variables may reach in one step.
const STEP: usize = 1 << 20;

/// How far above the end of the stack its guard pages may reach.
const GUARD: usize = 64 << 10;

/// Where the handler writes.
static RECORD: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// The lowest address of the tasks' stack.
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Signals are as a new process has them: none is blocked or ignored because the program, or its thread that started this one, does so.
///
/// A program decides what Ctrl-C means; its workers end when it does. Writing to a closed pipe is an error, not a death.
pub(super) fn prepare_signals() {
    // SAFETY: all zeros is a valid `sigset_t`, the empty one.
    let none: libc::sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the set is valid, and the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
    for signal in 1..=libc::SIGRTMAX() {
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

/// The signal that the kernel sends when the program has ended.
pub(super) const PROGRAM_ENDED: rustix::process::Signal = rustix::process::Signal::HUP;

/// What tasks have started ends with this process when the program ends.
pub(super) fn end_group_with_program() {
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
/// The record is never unmapped.
pub(super) unsafe fn install(record: &Record) {
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    STACK_END.store(end_of_stack(), Ordering::Relaxed);
    let stack: &'static mut [MaybeUninit<u8>] = Box::leak(Box::new_uninit_slice(SIGNAL_STACK));
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: SIGNAL_STACK };
    // SAFETY: `stack` is valid, and its memory is never freed nor used for anything else.
    unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    for signal in FAULTS {
        // A sanitizer, or a library's constructor, may have a handler of its own.
        if is_default(signal) {
            set_action(signal, note as *const () as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
        }
    }
}

fn is_default(signal: i32) -> bool {
    action_of(signal) == Some(libc::SIG_DFL)
}

/// What a signal does now. `None` if there is no such signal.
fn action_of(signal: i32) -> Option<usize> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer asks for the action that is set, which is written to `action`.
    let result = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all zeros is a valid `sigaction`, and so is what the call wrote.
    let action = unsafe { action.assume_init() };
    (result == 0).then_some(action.sa_sigaction)
}

fn set_action(signal: i32, handler: usize, flags: i32) {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is valid, and its handler is `SIG_IGN`, `SIG_DFL` or a function of the kind that its flags say, which does
    // only what a signal handler may.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// The lowest address of this thread's stack; 0 if it cannot be had.
fn end_of_stack() -> usize {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: `pthread_self` has no preconditions.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: asks for the attributes of this thread; `attributes` is written if the result is 0.
    if unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) } != 0 {
        return 0;
    }
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: `attributes` was initialised above; the results are written to two variables of ours.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size) };
    // SAFETY: `attributes` was initialised above, and is not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    start.addr()
}

/// The handler: atomics and `sigaction` only, both of which a handler may use.
extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with `SA_SIGINFO`.
    let info = unsafe { &*info };
    // Somebody may have sent the signal (`kill`, `raise`): then there is no address.
    let is_fault = info.si_code > 0;
    // SAFETY: null, or the record, which is never unmapped.
    let record = unsafe { RECORD.load(Ordering::Relaxed).as_ref() };
    if let (true, Some(record)) = (is_fault, record) {
        // SAFETY: the signals of `FAULTS` come with an address where the code is positive.
        let address = unsafe { info.si_addr() }.addr();
        let end = STACK_END.load(Ordering::Relaxed);
        let in_stack = end != 0 && address >= end.saturating_sub(STEP) && address < end + GUARD;
        record.fault_address.store(address as u64, Ordering::Relaxed);
        record.fault_in_stack.store(in_stack.into(), Ordering::Relaxed);
        record.fault_signal.store(signal.cast_unsigned(), Ordering::Release);
    }
    // The instruction runs again after this, and faults again; a signal that was sent is sent again.
    set_action(signal, libc::SIG_DFL, 0);
    if !is_fault {
        // SAFETY: `raise` may be called in a handler.
        unsafe { libc::raise(signal) };
    }
}
