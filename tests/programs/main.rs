//! What concerns a whole process, tested on programs of their own.

mod observing;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use parallel_workspace::{eventually, is_alive, state};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parallel-test-program"));
    command.args(arguments).env_remove("PARALLEL_MODE").env_remove("PARALLEL_WORKERS").env_remove("PARALLEL_ARENA");
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be started");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_environment_changes_where_functions_run() {
    assert_eq!(run(&mut program(&["where"])), "worker parallel-worker\n3");
    assert_eq!(run(program(&["where"]).env("PARALLEL_MODE", "serial")), "program main\n3");
    assert!(run(program(&["where"]).env("PARALLEL_MODE", "thread")).starts_with("program "));
    assert_eq!(run(program(&["where"]).env("PARALLEL_MODE", "process")), "worker parallel-worker\n3");
    assert_eq!(run(program(&["workers"]).env("PARALLEL_WORKERS", "7")), "7 7");
}

#[test]
fn a_wrong_environment_is_told() {
    for (name, value) in [("PARALLEL_MODE", "prozess"), ("PARALLEL_WORKERS", "0"), ("PARALLEL_WORKERS", "many")] {
        let output = program(&["where"]).env(name, value).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output).contains(name) && text(&output).contains(value), "{}", text(&output));
    }
}

#[test]
fn a_program_that_calls_nothing_starts_nothing() {
    assert_eq!(run(&mut program(&["idle"])), "1 threads, 0 descriptors of ours");
}

#[test]
fn workers_end_with_the_program_however_it_ends() {
    for how in ["return", "exit", "abort", "panic", "SIGKILL", "SIGTERM", "SIGINT"] {
        let signal = [("SIGKILL", libc::SIGKILL), ("SIGTERM", libc::SIGTERM), ("SIGINT", libc::SIGINT)]
            .into_iter()
            .find_map(|(name, number)| (name == how).then_some(number));
        let way = if signal.is_some() { "wait" } else { how };
        let mut program = program(&["leave", way]);
        program.stdout(Stdio::piped()).stderr(Stdio::null());
        if cfg!(parallel_portable) {
            // POSIX has a stopped worker continued unless the process that inherits it is of the program's session, as in many a container.
            // SAFETY: `setsid` has no preconditions, and may be called between `fork` and `exec`.
            let own_session = || match unsafe { libc::setsid() } {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            };
            // SAFETY: it makes one system call, and allocates nothing.
            unsafe { program.pre_exec(own_session) };
        }
        let mut child = program.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        assert_eq!(pids.len(), 4);
        if how == "SIGKILL" {
            // One that is stopped ends, too.
            // SAFETY: kill has no preconditions; the process is one of the program's.
            unsafe { libc::kill(pids[0].cast_signed(), libc::SIGSTOP) };
            assert!(eventually(|| state(pids[0]) == Some('T')));
        }
        if let Some(signal) = signal {
            // SAFETY: kill has no preconditions; the process is our child.
            unsafe { libc::kill(child.id().cast_signed(), signal) };
        }
        child.wait().unwrap();
        assert!(eventually(|| pids.iter().all(|pid| !is_alive(*pid))), "after {how}: {pids:?}");
    }
}

#[test]
fn what_tasks_print_is_not_lost_where_the_programs_output_is_not_read_for_long() {
    let mut child =
        program(&["stuck-output"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "stuck\n");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim_start_matches('.'), "first;second;");
}

#[test]
fn too_many_processes_at_once_are_refused_one_by_one() {
    let said = run(&mut program(&["descriptors"]));
    let numbers: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 0 && numbers[1] > 0 && numbers[0] + numbers[1] == 60, "{said}");
}

#[test]
fn an_arena_in_dev_shm_works_too() {
    let said = run(program(&["selftest"]).env("PARALLEL_ARENA", "shm"));
    assert_eq!(said, "ok");
}

/// Pages are reserved in the other build only.
#[cfg(not(parallel_portable))]
#[test]
fn a_small_dev_shm_gives_errors_and_no_crash() {
    let program_path = env!("CARGO_BIN_EXE_parallel-test-program");
    let script = |size: &str| format!("mount -t tmpfs -o size={size} tmpfs /dev/shm && exec {program_path} memory");
    let unshared = |size: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script(size)]).env("PARALLEL_ARENA", "shm");
        command
    };
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: mount namespaces are not allowed here");
        return;
    }
    let said = run(&mut unshared("64m"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "small 3");
    assert!(lines[1].starts_with("result out of shared memory"), "{said}");
    assert!(lines[2].starts_with("argument out of shared memory"), "{said}");
    assert_eq!(lines[3], "again 7");
    // Not even the board fits.
    let said = run(&mut unshared("64k"));
    assert!(said.lines().all(|line| line.contains("shared memory")), "{said}");
}

#[test]
fn a_limit_on_address_space_makes_the_arena_smaller() {
    assert_eq!(run(&mut program(&["address-space"])), "ok");
}

#[test]
fn a_variable_makes_the_arena_smaller_and_says_what_it_wants() {
    assert_eq!(run(program(&["selftest"]).env("PARALLEL_ARENA_SIZE", "256MiB")), "ok");
    let said = run(program(&["memory"]).env("PARALLEL_ARENA_SIZE", "much"));
    let wanted = "PARALLEL_ARENA_SIZE=\"much\": it must be a size from `16MiB` on";
    assert!(said.lines().all(|line| line.contains(wanted)) && said.lines().count() == 4, "{said}");
}

#[test]
fn memory_of_large_results_is_used_again() {
    let grown: u64 = run(&mut program(&["resident"])).parse().unwrap();
    assert!(grown < 100, "twenty results of 32 MiB took {grown} MiB");
}

#[test]
fn an_ordinary_build_passes_the_selftest() {
    assert_eq!(run(&mut program(&["selftest"])), "ok");
}

/// A static program loads no libraries.
#[cfg(not(target_feature = "crt-static"))]
#[test]
fn a_library_in_another_program_gets_a_clear_error() {
    let directory = std::path::Path::new(env!("CARGO_BIN_EXE_parallel-test-program")).parent().unwrap();
    let target = directory.parent().unwrap().join("plugin");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-q", "-p", "parallel-test-plugin", "--target-dir"]).arg(&target);
    assert!(build.status().unwrap().success());
    let library = target.join("debug").join("libparallel_test_plugin.so");
    assert_eq!(run(&mut program(&["plugin", &library.to_string_lossy()])), "0");
}

/// Checks what the workers of `end-in-order` have printed.
fn assert_that_workers_ended_in_order() {
    let printed = run(&mut program(&["end-in-order"]));
    let (first, second) = printed.split_once("shut down\n").unwrap_or_else(|| panic!("in {printed}"));
    for part in [first, second] {
        for expected in ["without a line's end", "of C, ", "state dropped", "exit handler"] {
            assert_eq!(part.matches(expected).count(), 1, "{expected} in {printed}");
        }
    }
}

#[test]
fn a_worker_ends_as_a_program_does() {
    assert_that_workers_ended_in_order();
}

#[test]
fn a_worker_ends_as_a_program_does_where_others_need_the_cores() {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 * parallel_runtime::cpu_count() {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let checked = std::panic::catch_unwind(|| (0..5).for_each(|_| assert_that_workers_ended_in_order()));
        is_over.store(true, Ordering::Relaxed);
        checked.unwrap();
    });
}

#[test]
fn what_programs_do_to_themselves_does_no_harm() {
    let habits = [
        "fork-before",
        "fork-after",
        "change-directory",
        "close-before",
        "close-after",
        "close-and-start",
        "ignore-children",
        "fork-with-threads",
        "fork-with-shared-objects",
        "stderr-locked",
        "drop-privileges-before",
        "drop-privileges-after",
        "drop-threads",
        "limits",
        "interrupt",
        "signals",
        "descriptor",
        "old-kernel",
    ];
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    for habit in habits {
        if cfg!(parallel_portable) && habit == "old-kernel" {
            // There is no sandbox at all.
            continue;
        }
        if habit.starts_with("drop") && !root {
            eprintln!("skipped: {habit} needs root");
            continue;
        }
        assert_eq!(run(&mut program(&["habit", habit])), "ok", "{habit}");
    }
    let output = program(&["habit", "close-stdout"]).output().unwrap();
    assert!(output.status.success() && text(&output).ends_with("ok\n"), "{}", text(&output));
    assert_eq!(run(program(&["habit", "umask"]).env("PARALLEL_ARENA", "shm")), "ok");
}

#[test]
fn a_program_with_raised_rights_starts_no_process_and_believes_no_variable() {
    let Some(program) = set_user_id_program("raised") else { return };
    let run_unprivileged = |variables: &[(&str, &str)]| {
        let mut command = program.command(&["privileges", "raised"]);
        command.uid(34567).gid(34567).envs(variables.iter().copied());
        assert_eq!(run(&mut command), "ok", "{variables:?}");
    };
    run_unprivileged(&[]);
    run_unprivileged(&[("PARALLEL_MODE", "nonsense"), ("PARALLEL_WORKERS", "77"), ("PARALLEL_ARENA", "shm")]);
    // With the variable of a worker it is no worker, but what it is.
    run_unprivileged(&[("__PARALLEL_RUNTIME_WORKER", "1"), ("__PARALLEL_RUNTIME_NODE", "1")]);
}

/// In the other build a program that has given rights up gets an error.
#[cfg(not(parallel_portable))]
#[test]
fn rights_that_a_program_has_given_up_do_not_come_back_in_workers() {
    let Some(raised) = set_user_id_program("given-up") else { return };
    assert_eq!(run(&mut raised.command(&["privileges", "given-up"])), "ok");
    for case in ["capabilities", "effective"] {
        assert_eq!(run(&mut program(&["privileges", case])), "ok", "{case}");
    }
}

#[test]
fn what_is_started_as_a_worker_by_another_program_is_none() {
    assert_eq!(run(&mut program(&["privileges", "forged"])), "ok");
}

/// A copy of the program that runs with root's rights, whichever user starts it. It is removed with this.
struct SetUserId(std::path::PathBuf);

impl SetUserId {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0.join("program"));
        command.args(arguments);
        command
    }
}

impl Drop for SetUserId {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `None` if this is not run by root.
fn set_user_id_program(name: &str) -> Option<SetUserId> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: a set-user-ID program can be made by root only");
        return None;
    }
    let directory = std::env::temp_dir().join(format!("parallel-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let copy = directory.join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_parallel-test-program"), &copy).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
    Some(SetUserId(directory))
}

#[test]
fn a_worker_that_writes_over_all_shared_memory_harms_no_program() {
    // The seeds are fixed, the moments are not. `... hostile 1000 0` is the long version.
    let said = run(&mut program(&["hostile", "6", "1"]));
    assert!(said.starts_with("6 rounds"), "{said}");
    // The same where the arena is a file that could not be sealed.
    let said = run(program(&["hostile", "3", "1"]).env("PARALLEL_ARENA", "shm"));
    assert!(said.starts_with("3 rounds"), "{said}");
    if cfg!(parallel_portable) {
        return;
    }
    // In a sandbox the worker shares less, and everything that it does share is attacked.
    let said = run(&mut program(&["hostile", "6", "1", "strict"]));
    assert!(said.starts_with("6 rounds") && said.contains("0 panics of shared objects"), "{said}");
}

#[test]
fn shared_memory_stays_consistent_in_a_storm_of_kills() {
    let said = run(&mut program(&["shared-storm", "200"]));
    assert!(said.contains("200 kills") && said.contains("all consistent"), "{said}");
}

#[test]
fn shared_memory_is_freed_with_its_last_handle_wherever_that_is() {
    assert_eq!(run(&mut program(&["shared-freed"])).trim(), "freed");
}

#[test]
fn a_storm_of_kills_loses_no_task_that_is_tried_again() {
    let said = run(&mut program(&["storm", "200"]));
    assert!(said.contains("none lost, none wrong"), "{said}");
}

#[test]
fn programs_killed_at_random_moments_leave_nothing() {
    let said = run(&mut program(&["killed", "24"]));
    assert!(said.ends_with("0 processes and 0 segments left"), "{said}");
}

#[test]
fn what_a_worker_prints_last_comes_out_although_the_program_ends() {
    let output = program(&["last-words"]).output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(lines.lines().filter(|line| *line == "last words of a task").count(), 100, "{lines}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "half a line;half a line;");
}

#[test]
fn a_failed_call_panics_where_it_was_made_and_names_its_function() {
    let output = program(&["blame"]).output().unwrap();
    let said = text(&output);
    assert!(
        said.contains("panicked at tests/program/main.rs")
            && said.contains("\n`parallel_test_program::sleep` ran longer"),
        "{said}"
    );
}

#[cfg(not(parallel_portable))]
#[test]
fn no_variable_takes_a_sandbox_away() {
    for mode in ["serial", "thread", "process"] {
        assert_eq!(run(program(&["confined"]).env("PARALLEL_MODE", mode)), "worker, confined", "{mode}");
    }
}

#[test]
fn lines_that_workers_print_at_the_same_time_come_out_whole() {
    let output = program(&["lines"]).output().unwrap();
    assert!(output.status.success());
    for printed in [output.stdout, output.stderr] {
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed.lines().count(), 4 * 500);
        for line in printed.lines() {
            let letter = line.chars().next().unwrap();
            assert!(line.len() >= 700 && line.chars().all(|other| other == letter), "{line}");
        }
    }
}
