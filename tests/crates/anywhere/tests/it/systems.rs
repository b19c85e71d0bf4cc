//! What a system lacks is said, and what depends on the environment holds in a process of its own.

use std::process::{Command, Output};

use parallel_runtime::{PoolError, ProcessPool};

#[test]
fn a_pool_of_processes_starts_or_says_what_it_needs() {
    let are_there = cfg!(all(unix, target_pointer_width = "64"));
    match ProcessPool::new(1).start() {
        Ok(()) if are_there => {}
        Err(PoolError::Spawn(error)) if !are_there => {
            let said = error.to_string();
            assert!(said.contains("need 64-bit Linux, macOS or FreeBSD"), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    output
}

#[test]
fn every_behaviour_holds_in_place() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = run(command.args(["conformance::own::", "streams::own::"]).env("PARALLEL_MODE", "serial"));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("running 0 tests"));
}

#[test]
fn a_program_leaves_a_timeline_behind() {
    let path = std::env::temp_dir().join(format!("parallel-test-anywhere-{}.json", std::process::id()));
    let output = run(Command::new(env!("CARGO_BIN_EXE_parallel-test-anywhere")).env("PARALLEL_TIMELINE", &path));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000 calls");
    let timeline = std::fs::read_to_string(&path).unwrap();
    assert!(timeline.contains("digits"), "{timeline}");
    std::fs::remove_file(path).unwrap();
}

#[cfg(feature = "progress")]
#[test]
fn a_map_shows_how_far_it_has_come() {
    let output = run(&mut Command::new(env!("CARGO_BIN_EXE_parallel-test-anywhere")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("digits"), "{said}");
}
