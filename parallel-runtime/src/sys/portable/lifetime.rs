//! Workers that end with the program.
//!
//! A worker sees the end of its channel, or that it has another parent. One that is stopped sees neither; but when its program ends, its group has no
//! parent in its session any more, and the system sends SIGHUP and SIGCONT to such a group with a stopped member: see `_exit` in POSIX. (Where the
//! process that inherits orphans is of that session, as the first of a container may be, the stopped worker stays.)

use super::fault;

/// This process ends with the program: see [`End`](super::channel::End).
pub(crate) fn end_with_program() {}

/// So does what tasks have started.
pub(crate) fn end_group_with_program() {
    fault::end_group_on_hang_up();
}

/// The thread of the tasks has nothing to ask for.
pub(crate) fn go_on_when_program_ends() {}
