//! Workers that end with the program, by `PR_SET_PDEATHSIG`: see prctl(2).
//!
//! The signal comes at the end of the *thread* that started this process: that is the supervisor's, which lives as long as the program. If the program
//! has ended before the call, the channel says so.

use rustix::process::{Signal, set_parent_process_death_signal};

use super::fault;

/// This process ends with the program, even if it is stopped, or has closed its channel.
pub(crate) fn end_with_program() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// So does what tasks have started. Not for what is confined, which starts nothing and could ignore a signal.
pub(crate) fn end_group_with_program() {
    fault::end_group_on_hang_up();
    let _ = set_parent_process_death_signal(Some(Signal::HUP));
}

/// The thread of the tasks asks for another signal, by which a process that is stopped goes on, and sees the first one.
pub(crate) fn go_on_when_program_ends() {
    let _ = set_parent_process_death_signal(Some(Signal::CONT));
}
