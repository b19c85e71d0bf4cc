//! What concerns a whole process, tested on programs of their own.

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

#[test]
fn the_environment_asks_for_a_timeline() {
    let folder = std::env::temp_dir();
    let asked = folder.join("parallel-trace-%p.json");
    let mut child =
        program(&["observed", "500"]).env("PARALLEL_TIMELINE", &asked).stdout(Stdio::piped()).spawn().unwrap();
    let file = folder.join(format!("parallel-trace-{}.json", child.id()));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let trace: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();

    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
    let tasks = of("X");
    let named = |name: &str| tasks.iter().filter(|event| event["name"].as_str().unwrap().ends_with(name)).count();
    assert!(named("::tiny") > 500, "500 that were submitted, and the messages of a map");
    assert_eq!((named("::wait"), named("::dangerous")), (10, 6), "those that were cancelled never ran");
    assert!(named("::small") >= 3);
    let ends: Vec<_> = tasks.iter().map(|event| event["args"]["end"].as_str().unwrap()).collect();
    for end in ["Done", "Failed", "TimedOut", "Died"] {
        assert!(ends.contains(&end), "{end} is missing");
    }
    // No two on one thread of the trace overlap, and none ran before it was submitted.
    let mut lanes: std::collections::HashMap<_, Vec<(f64, f64)>> = std::collections::HashMap::new();
    for task in &tasks {
        let (at, time) = (task["ts"].as_f64().unwrap(), task["dur"].as_f64().unwrap());
        assert!(at >= 0.0 && time >= 0.0 && task["args"]["waited_us"].as_f64().unwrap() >= 0.0);
        lanes.entry((task["pid"].as_u64(), task["tid"].as_u64())).or_default().push((at, at + time));
    }
    for lane in lanes.values_mut() {
        lane.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(lane.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 0.002), "two tasks of a lane at the same time");
    }
    assert!(of("M").len() >= 2 + 4, "pools and workers have names");
    assert!(of("i").iter().any(|event| event["name"].as_str().unwrap().starts_with("died: signal 6")));
    assert!(of("C").iter().any(|event| event["name"] == "queue" && event["args"]["tasks"].as_u64() > Some(10)));
    let has_memory =
        |event: &&serde_json::Value| event["name"] == "memory in KiB" && event["args"]["program"].as_u64() > Some(0);
    // Which procfs tells.
    assert!(cfg!(parallel_portable) || of("C").iter().any(has_memory));

    // What the pool says of itself.
    assert!(said.contains("3 failed, 4 cancelled"), "{said}");
    for part in ["of 2 alive", "submitted", "6 cancelled", "1 worker died", "1 timed out", "busy", "median"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
}

#[test]
fn a_timeline_that_cannot_be_written_is_told() {
    let output = program(&["observed", "1"]).env("PARALLEL_TIMELINE", "/nowhere/run.html").output().unwrap();
    assert!(output.status.success());
    assert!(text(&output).contains("/nowhere/run.html") && text(&output).contains("No such file"), "{}", text(&output));
}

#[test]
fn a_timeline_with_another_ending_is_refused() {
    let output = program(&["observed", "1"]).env("PARALLEL_TIMELINE", "run.txt").output().unwrap();
    assert!(!output.status.success());
    let said = text(&output);
    assert!(said.contains("PARALLEL_TIMELINE=\"/") && said.contains("run.txt") && said.contains("`.html`"), "{said}");
}

#[test]
fn a_signal_that_ends_the_program_has_its_timeline_written_first() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let file = std::env::temp_dir().join(format!("parallel-signal-{signal}-{}.html", std::process::id()));
        let mut program = program(&["leave", "wait"]);
        let mut child = program.env("PARALLEL_TIMELINE", &file).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // Twice in a row, as `timeout` sends it to its child and to the group.
        for _ in 0..2 {
            // SAFETY: kill has no preconditions; the process is our child.
            unsafe { libc::kill(child.id().cast_signed(), signal) };
        }
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal), "it dies as it would have died");
        let page = std::fs::read_to_string(&file).unwrap();
        assert!(page.contains("start_program") && page.ends_with("</html>\n"));
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_signal_that_the_program_handles_is_left_to_it() {
    for way in ["instead", "before"] {
        let file = std::env::temp_dir().join(format!("parallel-handled-{way}-{}.html", std::process::id()));
        let said = run(program(&["handles-signals", way]).env("PARALLEL_TIMELINE", &file));
        assert_eq!(said, "SIGTERM was handled 3 times");
        assert!(std::fs::read_to_string(&file).unwrap().contains("tiny"), "it was written at the program's exit");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
#[cfg(not(feature = "dashboard"))]
fn a_dashboard_that_was_not_built_in_is_told() {
    let output = program(&["where"]).env("PARALLEL_DASHBOARD", "8787").output().unwrap();
    assert!(output.status.success());
    assert!(text(&output).contains("the feature `dashboard` is not on"), "{}", text(&output));
}

#[test]
#[cfg(feature = "dashboard")]
fn a_dashboard_at_an_address_that_is_none_or_is_taken_is_told() {
    for wrong in ["nowhere", "127.0.0.1", "99999", "example.org:80"] {
        let output = program(&["where"]).env("PARALLEL_DASHBOARD", wrong).output().unwrap();
        let said = text(&output);
        assert!(!output.status.success() && said.contains(wrong) && said.contains("`127.0.0.1:8787`"), "{said}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = program(&["where"]).env("PARALLEL_DASHBOARD", address.to_string()).output().unwrap();
    assert!(output.status.success() && text(&output).contains("cannot be served"), "{}", text(&output));
}

/// A terminal for a program's standard error: the side of the program, and ours.
#[cfg(feature = "progress")]
fn terminal() -> (std::fs::File, std::fs::File) {
    use std::os::fd::FromRawFd;
    let (mut ours, mut theirs) = (0, 0);
    let mut size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the pointers are to variables of ours, or null where that means "none".
    let made = unsafe {
        libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null_mut(), &raw mut size)
    };
    assert_eq!(made, 0);
    // SAFETY: both are open, and nothing else owns them.
    [theirs, ours].map(|descriptor| unsafe { std::fs::File::from_raw_fd(descriptor) }).into()
}

/// What a program shows on a terminal.
#[cfg(feature = "progress")]
fn shown_on_terminal(arguments: &[&str]) -> String {
    use std::io::Read;
    let (theirs, mut ours) = terminal();
    let mut child = program(arguments).env("TERM", "xterm").stderr(theirs).stdout(Stdio::null()).spawn().unwrap();
    let mut shown = Vec::new();
    // The end of the other side is an error here.
    let _ = ours.read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[cfg(feature = "progress")]
#[test]
fn a_bar_shows_how_far_maps_have_come_if_there_is_a_terminal() {
    let shown = shown_on_terminal(&["bars", "shown"]);
    for part in [
        "hashing",
        "on threads",
        "of 300",
        "300 in",
        "left",
        "lazily",
        "300,",
        "in the background",
        "printed by a task",
    ] {
        assert!(shown.contains(part), "`{part}` is missing: {shown}");
    }
}

#[cfg(feature = "progress")]
#[test]
fn bars_of_maps_are_among_the_bars_of_the_program() {
    let shown = shown_on_terminal(&["bars", "theirs"]);
    for part in ["of the program 1", "of the program 2", "slow ", "300 in", "printed by a task"] {
        assert!(shown.contains(part), "`{part}` is missing: {shown}");
    }
}

#[cfg(feature = "progress")]
#[test]
fn where_there_is_no_terminal_lines_show_how_far_maps_have_come() {
    let run = |how: &str| {
        let output = program(&["bars", how]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let shown = run("shown");
    let lines = ["hashing: 300 in ", "on threads: 300 in ", "lazily: 300 in ", "in the background: 300 in "];
    for line in lines {
        assert!(shown.lines().any(|shown| shown.starts_with(line) && shown.ends_with("/s")), "{line} in {shown}");
    }
    assert!(shown.lines().any(|line| line == "printed by a task"), "{shown}");
    // Two seconds of work: 4,000 items of a millisecond on two threads.
    let long = run("long");
    let now_and_then =
        |line: &&str| line.starts_with("long: ") && line.contains(" of 4,000, ") && line.ends_with(" left");
    assert!(long.lines().any(|line| now_and_then(&line)), "{long}");
}

#[cfg(all(feature = "progress", feature = "log"))]
#[test]
fn a_logger_may_use_the_bars_of_the_program_and_what_its_caller_has_locked() {
    for (how, count) in [("bridge", 51), ("locked", 51)] {
        let output = program(&["bars", how]).output().unwrap();
        let said = text(&output);
        assert!(output.status.success(), "{how}: {said}");
        assert_eq!(said.matches("bridged: logged ").count(), count, "{how}: {said}");
    }
}

#[cfg(feature = "progress")]
#[test]
fn progress_is_shown_or_not_but_never_fails_a_map() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program(&["bars", "shown"]).stderr(full).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[cfg(feature = "progress")]
#[test]
fn items_that_fail_are_counted_where_progress_is_shown() {
    let output = program(&["bars", "failures"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8_lossy(&output.stderr);
    for name in ["processes", "threads", "limited", "stream", "one"] {
        let is_counted = |line: &str| line.starts_with(&format!("{name}: 20 in ")) && line.ends_with(", 10 failed");
        assert!(shown.lines().any(is_counted), "{name} in {shown}");
    }
}
