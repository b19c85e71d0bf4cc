//! Tasks that fail are saved in files, and run again alone.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of a test's own, which is removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parallel-replay-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parallel-test-program"));
    for name in ["PARALLEL_MODE", "PARALLEL_WORKERS", "PARALLEL_FAILURES", "PARALLEL_FAILURES_LIMIT", "PARALLEL_REPLAY"]
    {
        command.env_remove(name);
    }
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a case of the program, and gives what its tasks and the program have printed.
fn fail_in(directory: &Directory, case: &str) -> String {
    let output = program().args(["failures", case]).env("PARALLEL_FAILURES", &directory.0).output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// The only file that a case of the program has saved.
fn saved_in(directory: &Directory, case: &str) -> PathBuf {
    let said = fail_in(directory, case);
    let files = directory.files();
    assert_eq!(files.len(), 1, "{said}");
    assert!(said.lines().any(|line| Path::new(line) == files[0]), "`saved` names it: {said}");
    files[0].clone()
}

fn replay(file: &Path) -> Output {
    program().env("PARALLEL_REPLAY", file).output().unwrap()
}

fn assert_replays(case: &str, expected: &str) {
    let directory = Directory::new(case);
    let output = replay(&saved_in(&directory, case));
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), expected), "{}", stderr(&output));
}

#[test]
fn each_task_of_a_map_that_crashes_is_saved_and_crashes_again() {
    let directory = Directory::new("crashes");
    let said = fail_in(&directory, "crashes");
    let saved: Vec<&str> = said.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!((saved.len(), directory.files().len()), (3, 3), "{said}");
    for (file, number) in saved.into_iter().zip([1, 3, 5]) {
        let output = replay(Path::new(file));
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", stderr(&output));
        assert_eq!(stdout(&output), format!("{number} with {number}000 bytes, init 7\n"));
    }
}

#[test]
fn a_task_that_took_too_long_is_saved_and_has_all_the_time_when_it_is_run_again() {
    assert_replays("timeout", "slept 300 ms\n");
}

#[test]
fn arguments_are_saved_as_they_were_before_the_task_changed_them_and_with_the_slices_they_refer_to() {
    assert_replays("in-place", "[1.5, 2.5] and 3000 of the table\n");
}

#[test]
fn a_task_is_run_again_with_the_state_of_its_function() {
    assert_replays("state", "what: of the function\ndropped\n");
}

#[test]
fn a_task_is_run_again_with_the_state_and_the_variables_of_its_pool() {
    assert_replays("pool-state", "what: of the pool, yes\ndropped\n");
}

#[test]
fn the_body_of_an_async_fn_is_run_again_to_its_end() {
    assert_replays("async", "later: 5\n");
}

#[test]
fn a_task_of_a_process_of_its_own_is_saved() {
    let directory = Directory::new("spawned");
    assert_eq!(replay(&saved_in(&directory, "spawned")).status.signal(), Some(libc::SIGSEGV));
}

#[test]
fn a_task_that_nothing_waits_for_is_saved() {
    let directory = Directory::new("dropped");
    fail_in(&directory, "dropped");
    assert_eq!(directory.files().len(), 1);
}

#[test]
fn a_task_that_panics_alone_ends_like_a_program_that_panics() {
    let directory = Directory::new("panics");
    let output = replay(&saved_in(&directory, "panics"));
    assert_eq!(output.status.code(), Some(101));
    assert!(stderr(&output).contains("alone, it panics: so"), "{}", stderr(&output));
}

#[test]
fn a_task_with_retries_is_saved_once_after_the_last() {
    let directory = Directory::new("retries");
    fail_in(&directory, "retries");
    // One that was submitted, two of a map, and one that was called.
    assert_eq!(directory.files().len(), 4);
}

#[test]
fn a_pool_says_where_its_failures_are_saved() {
    let directory = Directory::new("pool");
    let output = program().args(["failures", "pool"]).current_dir(&directory.0).output().unwrap();
    let path = stdout(&output).lines().last().unwrap().to_owned();
    assert!(path.starts_with(&format!("{}/saved-here/odd-", directory.0.display())), "{path}");
    assert_eq!(replay(Path::new(&path)).status.signal(), Some(libc::SIGSEGV));
}

#[test]
fn only_this_user_can_read_what_is_saved() {
    let directory = Directory::new("mode");
    let file = saved_in(&directory, "spawned");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_saved_is_told() {
    let directory = Directory::new("shared");
    let run = |case: &str, limit: &str| {
        let mut command = program();
        command.args(["failures", case]).env("PARALLEL_FAILURES", &directory.0).env("PARALLEL_FAILURES_LIMIT", limit);
        let output = command.output().unwrap();
        assert!(stdout(&output).ends_with("-\n"), "{}", stdout(&output));
        assert!(directory.files().is_empty());
        stderr(&output)
    };
    let said = run("shared", "");
    assert!(said.contains("SharedDict<String, u32>") && said.contains("means nothing to a later process"), "{said}");
    let said = run("large", "1MiB");
    assert!(said.contains("1048576") && said.contains("PARALLEL_FAILURES_LIMIT=1GiB allows more"), "{said}");
}

#[test]
fn a_file_that_is_none_of_this_build_is_refused_with_an_error() {
    let directory = Directory::new("refused");
    let file = saved_in(&directory, "spawned");
    let bytes = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8], why: &str| {
        std::fs::write(&file, bytes).unwrap();
        let output = replay(&file);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && said.contains(&file.display().to_string()), "{said}");
    };
    refused(b"", "it is no file of a failed task");
    refused(b"RIFF and so on, which is quite another file", "it is no file of a failed task");
    let mut other_build = bytes.clone();
    other_build[20] ^= 1;
    refused(&other_build, "another build of the program has written it");
    // Cut short at any place, it is an error.
    for len in (17..bytes.len()).step_by(7) {
        refused(&bytes[..len], "it is");
    }
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o622)).unwrap();
    refused(&bytes, "another user owns it or may write it");
    let output = replay(&directory.0.join("missing"));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it cannot be read"), "{}", stderr(&output));
}

#[test]
fn a_pipe_that_nothing_reads_is_an_error_as_in_a_worker() {
    assert_replays("pipe", "BrokenPipe\n");
}

#[test]
fn tasks_end_as_ever_where_failures_cannot_be_saved_nor_that_be_told() {
    for (case, expected) in [("spawned", "-\n"), ("abandoned", "done\n")] {
        let mut command = program();
        command.args(["failures", case]).env("PARALLEL_FAILURES", "/proc/nowhere");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stderr(full).output().unwrap();
        assert!(output.status.success(), "{case}: {}", stdout(&output));
        assert!(stdout(&output).ends_with(expected), "{case}: {}", stdout(&output));
    }
}
