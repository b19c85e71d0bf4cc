//! Worker processes: where they come from, what they inherit, how they end.

use std::time::{Duration, Instant};

use parallel_runtime::{PoolError, ProcessPool, TaskError, parallel};
use parallel_workspace::{eventually, is_alive};

#[parallel(mode = "process", pool = 2)]
fn pid(_: u32) -> u32 {
    std::process::id()
}

#[parallel(mode = "process", pool = 2)]
fn pause(milliseconds: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    std::process::id()
}

#[parallel(mode = "process", pool = 2)]
fn nested(depth: u32) -> Vec<u32> {
    let mut pids = if depth == 0 { Vec::new() } else { nested(depth - 1) };
    pids.extend(pid::map([1, 2]));
    pids.push(pid::submit(3).join().unwrap());
    pids.push(std::process::id());
    pids
}

#[test]
fn tasks_run_in_other_processes() {
    assert_ne!(pid(0), std::process::id());
    assert_eq!(pid::inline(0), std::process::id());
}

#[test]
fn a_pool_has_as_many_workers_as_asked_for() {
    let pool = ProcessPool::new(3);
    assert!(pool.worker_pids().is_empty(), "workers start when there is work");
    let mut pids = pause::on(&pool).map(std::iter::repeat_n(20, 9));
    pids.sort_unstable();
    pids.dedup();
    assert!(pids.len() <= 3);
    pool.start().unwrap();
    assert_eq!(pool.worker_pids().len(), 3);
    assert_eq!(pool.workers(), 3);
}

#[test]
fn nested_calls_run_in_the_same_worker() {
    let pids = nested(3);
    assert!(pids.iter().all(|pid| *pid == pids[0] && *pid != std::process::id()), "{pids:?}");
}

#[test]
fn a_pool_in_a_worker_is_the_worker() {
    assert_eq!(pool_inside(1), (2, 0));
}

#[parallel(mode = "process", pool = 2)]
fn pool_inside(x: u32) -> (u32, usize) {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let same = u32::from(pid::on(&pool).call(0) == std::process::id());
    (x + same, pool.worker_pids().len())
}

#[test]
fn shutdown_runs_out_what_is_queued_and_ends_the_workers() {
    let pool = ProcessPool::new(2);
    let tasks: Vec<_> = (0..20).map(|_| pause::on(&pool).submit(5)).collect();
    let pids = {
        pool.start().unwrap();
        pool.worker_pids()
    };
    pool.shutdown();
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "they are gone when it returns");
    for task in tasks {
        assert!(pids.contains(&task.join().unwrap()));
    }
    assert!(matches!(pause::on(&pool).submit(1).join(), Err(TaskError::PoolClosed)));
    assert!(matches!(pool.start(), Err(PoolError::Closed)));
    assert!(matches!(pause::on(&pool).try_map([1, 2])[0], Err(TaskError::PoolClosed)));
}

#[test]
fn dropping_a_pool_shuts_it_down() {
    let pool = ProcessPool::new(2);
    let task = pause::on(&pool).submit(30);
    let pids = pool.worker_pids();
    drop(pool);
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(task.join().is_ok());
}

#[test]
fn kill_ends_workers_and_tasks_at_once() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let pids = pool.worker_pids();
    let tasks: Vec<_> = (0..10).map(|_| pause::on(&pool).submit(3_600_000)).collect();
    let waiting = std::thread::spawn(move || tasks.into_iter().map(|task| task.join()).collect::<Vec<_>>());
    let begun = Instant::now();
    pool.kill();
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    for result in waiting.join().unwrap() {
        assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(matches!(pause::on(&pool).submit(1).join(), Err(TaskError::PoolClosed)));
}

#[test]
fn a_large_result_that_was_there_survives_a_kill() {
    let pool = ProcessPool::new(1);
    let task = large::on(&pool).submit(1 << 20);
    assert!(eventually(|| pool.stats().finished == 1));
    pool.kill();
    assert_eq!(task.join().unwrap().len(), 1 << 20);
}

#[parallel(mode = "process", pool = 2)]
fn large(count: usize) -> Vec<u8> {
    vec![0; count]
}

#[test]
fn a_pool_that_was_killed_answers_for_every_item() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    pool.kill();
    let results = pid::on(&pool).chunk(10).try_map(0..100);
    assert_eq!(results.len(), 100);
    assert!(results.iter().all(Result::is_err));
}

#[test]
fn many_tasks_without_a_waiter_do_not_keep_a_pool_from_shutting_down() {
    let pool = ProcessPool::new(1);
    for round in 0..5 {
        for x in 0..1000 + round * 400 {
            drop(pid::on(&pool).submit(x));
        }
    }
    pool.shutdown();
    assert_eq!(pool.stats().finished, 9000);
}

#[test]
fn kill_ends_a_map_that_waits() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    std::thread::scope(|scope| {
        let map = scope.spawn(|| pause::on(&pool).try_map([3_600_000; 50]));
        assert!(eventually(|| pool.stats().running == 2));
        pool.kill();
        assert!(map.join().unwrap().iter().all(Result::is_err));
    });
}

#[test]
fn a_task_says_whether_it_runs() {
    let pool = ProcessPool::new(1);
    let first = pause::on(&pool).submit(3_600_000);
    let second = pause::on(&pool).submit(0);
    assert!(eventually(|| first.is_running()));
    assert!(!second.is_running() && !second.is_finished());
    assert!(!first.cancel(), "what runs cannot be cancelled");
    assert!(second.cancel());
    pool.kill();
}

#[test]
fn stats_count_what_happened() {
    let pool = ProcessPool::new(2);
    for x in 0..10 {
        pid::on(&pool).call(x);
    }
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.finished, stats.running, stats.queued), (10, 10, 0, 0));
    assert_eq!((stats.workers, stats.worker_deaths), (2, 0));
    assert!(stats.to_string().contains("10 submitted"), "{stats}");
    assert_eq!((stats.done, stats.failed, stats.cancelled), (10, 0, 0));
    assert!(stats.bytes_copied >= 10 && stats.load.len() <= 2 && stats.load.iter().all(|load| load.share <= 1.0));
    assert!(stats.ran.median > Duration::ZERO && stats.ran.median <= stats.ran.longest);
}

#[test]
fn workers_have_the_programs_directory_and_environment_but_not_our_variable() {
    let (directory, path, ours) = surroundings();
    assert_eq!(directory, std::env::current_dir().unwrap().to_string_lossy());
    assert_eq!(path, std::env::var("PATH").ok());
    assert_eq!(ours, 0);
}

#[parallel(mode = "process", pool = 2)]
fn surroundings() -> (String, Option<String>, usize) {
    let directory = std::env::current_dir().unwrap().to_string_lossy().into_owned();
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().contains("PARALLEL_RUNTIME")).count();
    (directory, std::env::var("PATH").ok(), ours)
}

#[test]
fn the_input_of_a_worker_is_empty() {
    assert_eq!(read_input(), "");
}

#[parallel(mode = "process", pool = 2)]
fn read_input() -> String {
    std::io::read_to_string(std::io::stdin()).unwrap()
}

#[test]
fn a_program_that_a_task_starts_is_no_worker_and_holds_nothing_of_ours() {
    let listing = start_a_program();
    assert!(
        !listing.contains("memfd") && !listing.contains("/dev/shm/parallel-") && !listing.contains("socket"),
        "{listing}"
    );
}

#[parallel(mode = "process", pool = 2)]
fn start_a_program() -> String {
    let output = std::process::Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .stderr(std::process::Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn threads_and_thread_pools_work_in_a_worker() {
    assert_eq!(threads_inside(100), 4950 * 2);
}

#[parallel(mode = "process", pool = 2)]
fn threads_inside(n: u64) -> u64 {
    let by_thread: u64 = std::thread::spawn(move || (0..n).sum()).join().unwrap();
    by_thread + identity::map(0..n).iter().sum::<u64>()
}

#[parallel(pool = 2)]
fn identity(x: u64) -> u64 {
    x
}

#[test]
fn a_process_function_runs_on_a_pool_of_threads_too() {
    let threads = parallel_runtime::ThreadPool::new(2);
    assert_eq!(pid::on(&threads).map([0, 0]), [std::process::id(); 2]);
}

#[test]
fn an_idle_pool_burns_no_cpu() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    pid::on(&pool).map(0..100);
    let pids = pool.worker_pids();
    let ticks = |pid: &u32| -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // What is left of the spinning ends within microseconds; then their clocks stand still.
    assert!(eventually(|| {
        let before: Vec<u64> = pids.iter().map(ticks).collect();
        std::thread::sleep(Duration::from_millis(300));
        pids.iter().map(ticks).collect::<Vec<_>>() == before
    }));
}

#[test]
fn what_waits_for_a_place_on_the_board_can_be_joined_and_cancelled() {
    // More than the board holds.
    const TASKS: usize = 20_000;
    let pool = ProcessPool::new(1);
    let first = pause::on(&pool).submit(3_600_000);
    assert!(eventually(|| first.is_running()));
    let mut tasks: Vec<_> = (0..TASKS).map(|_| pid::on(&pool).submit(0)).collect();
    assert!(tasks.iter().all(|task| !task.is_finished()));
    let last = tasks.pop().unwrap();
    assert!(last.cancel() && matches!(last.join(), Err(TaskError::Cancelled)));
    let last = tasks.pop().unwrap();
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| last.join());
        assert!(first.kill());
        assert!(matches!(first.join(), Err(TaskError::Cancelled)));
        assert!(joined.join().unwrap().is_ok(), "it comes to the board when there is room");
    });
    assert!(tasks.into_iter().all(|task| task.join().is_ok()));
}

/// What a program whose executable is replaced while it runs says about its first task.
fn with_replaced_executable() -> String {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let directory = parallel_workspace::scratch("replaced");
    let (program, other) = (directory.join("program"), directory.join("other"));
    std::fs::copy(env!("CARGO_BIN_EXE_parallel-test-program"), &program).unwrap();
    // Another executable that links the runtime.
    std::fs::copy(std::env::current_exe().unwrap(), &other).unwrap();
    let mut child =
        Command::new(&program).arg("replaced").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready 2");
    std::fs::rename(other, program).unwrap();
    child.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    let text = said.map(Result::unwrap).collect::<Vec<_>>().join("\n");
    assert!(child.wait().unwrap().success());
    std::fs::remove_dir_all(directory).unwrap();
    text
}

#[test]
fn workers_run_the_program_itself_although_its_file_is_another_by_now() {
    let said = with_replaced_executable();
    // What finds the executable by its path refuses another build.
    let right = if cfg!(parallel_portable) { said.contains("another build than the program") } else { said == "3" };
    assert!(right, "{said}");
}
