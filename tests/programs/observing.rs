//! What a program shows of its tasks: timelines, dashboards, bars.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{program, run, text};

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
