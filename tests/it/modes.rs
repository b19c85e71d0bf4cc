//! The attribute in each mode, and the tables of behaviours where `PARALLEL_MODE` moves all functions.

use std::process::Command;

use parallel_runtime::{Call, MapTask, ProcessPool, Task, ThreadPool, parallel};

use crate::conformance::table::{Kind, Record, record};
use crate::streams::{Runs, block_on};

#[macro_use]
#[path = "../support/modes.rs"]
mod table;

modes!(serial, "serial");
modes!(thread, "thread", pool = 2);
modes!(thread_of_one, "thread", pool = 1);
modes!(process, "process", pool = 2);
modes!(process_of_one, "process", pool = 1);

/// Runs the tables on the functions' own pools, in a process in which they are moved.
#[track_caller]
fn run_tables_in(mode: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["conformance::own::", "streams::own::"]).env("PARALLEL_MODE", mode).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("running 0 tests"), "{text}");
}

#[test]
fn every_behaviour_holds_where_calls_run_in_place() {
    run_tables_in("serial");
}

#[test]
fn every_behaviour_holds_where_functions_are_moved_to_threads() {
    run_tables_in("thread");
}

#[test]
fn pools_and_tasks_go_through_panics_and_between_threads() {
    #[parallel(mode = "process")]
    fn next(x: u64) -> u64 {
        x + 1
    }
    fn goes<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    fn is_sent<T: Send + Sync + Unpin>() {}
    goes::<ThreadPool>();
    goes::<ProcessPool>();
    goes::<Call<'static, next>>();
    goes::<MapTask<u64>>();
    is_sent::<Task<u64>>();
}
