//! Signals in words.

pub(super) use super::signal_numbers::{is_fault, last};

/// Number, name and meaning.
pub(crate) fn describe(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => " (SIGHUP)",
        libc::SIGINT => " (SIGINT)",
        libc::SIGQUIT => " (SIGQUIT)",
        libc::SIGILL => " (SIGILL: an illegal instruction)",
        libc::SIGTRAP => " (SIGTRAP)",
        libc::SIGABRT => " (SIGABRT: it aborted)",
        libc::SIGBUS => " (SIGBUS: memory that is not there)",
        libc::SIGFPE => " (SIGFPE: an arithmetic error)",
        libc::SIGKILL => " (SIGKILL: killed from outside)",
        libc::SIGSEGV => " (SIGSEGV: a bad memory access)",
        libc::SIGPIPE => " (SIGPIPE)",
        libc::SIGALRM => " (SIGALRM)",
        libc::SIGTERM => " (SIGTERM: ended from outside)",
        libc::SIGSYS => " (SIGSYS: a forbidden system call)",
        libc::SIGXCPU => " (SIGXCPU: its limit of CPU time)",
        libc::SIGXFSZ => " (SIGXFSZ: its limit of file size)",
        _ => "",
    };
    format!("signal {signal}{name}")
}
