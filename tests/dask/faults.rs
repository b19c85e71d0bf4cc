//! Parts of a cluster are killed, and nothing is lost.

use std::os::unix::process::parent_id;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{DaskPool, PoolError, TaskError, parallel};
use parallel_workspace::eventually;

use super::cluster::{Cluster, python};

#[parallel(mode = "dask")]
fn nap(milliseconds: u64, x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    x
}

/// The process that stands for this machine.
#[parallel(mode = "dask")]
fn node(milliseconds: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    parent_id()
}

#[parallel(mode = "dask")]
fn abort_at(x: u64, bad: u64) -> u64 {
    if x == bad {
        std::process::abort();
    }
    x
}

/// Runs a map of `items` naps, and `meanwhile` when a few have ended.
fn map_while(pool: &DaskPool, items: u64, meanwhile: impl FnOnce()) {
    let map = nap::on(pool).map_async((0..items).map(|x| (10, x)));
    while map.progress().0 < 5 {
        std::thread::sleep(Duration::from_millis(1));
    }
    meanwhile();
    assert_eq!(map.join().unwrap(), (0..items).collect::<Vec<_>>());
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_dask_worker_is_killed() {
    let mut cluster = Cluster::start(2);
    let pool = cluster.pool();
    map_while(&pool, 300, || cluster.kill_worker(0));
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn all_dask_workers_are_killed_while_others_join() {
    let mut cluster = Cluster::start(2);
    let pool = cluster.pool();
    map_while(&pool, 300, || {
        cluster.add_worker();
        cluster.kill_worker(0);
        cluster.kill_worker(1);
        cluster.add_worker();
    });
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_worker_that_joins_gets_work() {
    let mut cluster = Cluster::start(1);
    let pool = cluster.pool();
    let stop = AtomicBool::new(false);
    let items = std::iter::from_fn(|| (!stop.load(Ordering::Relaxed)).then_some(20));
    let mut nodes = Vec::new();
    for (_, node) in node::on(&pool).imap_unordered(items) {
        let node = node.unwrap();
        if !nodes.contains(&node) {
            nodes.push(node);
            match nodes.len() {
                1 => cluster.add_worker(),
                _ => stop.store(true, Ordering::Relaxed),
            }
        }
    }
    assert_eq!(nodes.len(), 2);
    // The bridge looks every second how large the cluster is.
    assert!(eventually(|| pool.workers() == 2), "{} workers", pool.workers());
}

/// The Python process that this program has started for a pool: the newest.
fn bridge() -> u32 {
    let children =
        Command::new("pgrep").args(["-n", "-P", &std::process::id().to_string(), "-f", "parallel-bridge"]).output();
    String::from_utf8(children.unwrap().stdout).unwrap().trim().parse().unwrap()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn the_bridge_is_killed() {
    if !is_again() {
        // In a process of its own, which has one bridge only.
        let again = run_again("faults::the_bridge_is_killed", &[]).output().unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
        return;
    }
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    map_while(&pool, 300, || kill(bridge()));
    // Also when nothing is under way.
    kill(bridge());
    assert_eq!(nap::on(&pool).call((0, 7)), 7);
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_task_that_crashes_costs_one_task() {
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    let results = abort_at::on(&pool).try_map((0..1000).map(|x| (x, 500)));
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Err(TaskError::WorkerDied { signal: Some(6), reason, .. }) => {
                assert!(index == 500 && reason.contains("on host"), "{reason}");
            }
            other => assert_eq!(other.unwrap(), index as u64),
        }
    }
    let nodes: Vec<u32> = node::on(&pool).map([1; 20]);
    assert!(nodes.iter().all(|node| *node > 1), "the nodes live on");
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_scheduler_that_has_gone_is_an_error_and_the_next_one_is_used() {
    let mut cluster = Cluster::start(1);
    let address = cluster.address();
    let pool = DaskPool::connect_to(address.clone());
    let task = nap::on(&pool).submit((60_000, 1));
    while !task.is_running() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    cluster.kill_scheduler();
    match task.join() {
        Err(error @ TaskError::Cluster { .. }) => assert!(error.to_string().contains(&address), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let _again = Cluster::start_at(1, port);
    assert_eq!(nap::on(&pool).submit((1, 2)).join().unwrap(), 2);
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn where_no_scheduler_is_connecting_fails_in_time() {
    let pool = DaskPool::connect("tcp://127.0.0.1:1").connect_timeout(Duration::from_secs(2));
    let begun = Instant::now();
    match pool.start() {
        Err(error @ PoolError::Cluster { .. }) => {
            assert!(error.to_string().contains("no scheduler answers"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(nap::on(&pool).submit((0, 0)).join(), Err(TaskError::Cluster { .. })));
    assert!(nap::on(&pool).try_map([(0, 0); 3]).iter().all(Result::is_err));
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

/// Runs a test of this program in another process.
pub(crate) fn run_again(test: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]).env("PARALLEL_TEST_AGAIN", "1");
    command.envs(variables.iter().copied());
    command
}

pub(crate) fn is_again() -> bool {
    std::env::var_os("PARALLEL_TEST_AGAIN").is_some()
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_missing_python_or_package_is_told() {
    if is_again() {
        println!("\n{}", DaskPool::connect("tcp://127.0.0.1:1").start().unwrap_err());
        return;
    }
    let said = |python: &str| {
        let mut again = run_again("faults::a_missing_python_or_package_is_told", &[("PARALLEL_PYTHON", python)]);
        String::from_utf8(again.output().unwrap().stdout).unwrap()
    };
    let missing = said("/nowhere/python3");
    assert!(missing.contains("/nowhere/python3") && missing.contains("PARALLEL_PYTHON"), "{missing}");
    // An interpreter without packages.
    let bare = std::env::temp_dir().join(format!("parallel-bare-{}", std::process::id()));
    std::fs::write(&bare, format!("#!/bin/sh\nexec {} -S \"$@\"\n", python().display())).unwrap();
    Command::new("chmod").arg("+x").arg(&bare).status().unwrap();
    let bare_said = said(bare.to_str().unwrap());
    assert!(bare_said.contains("-m pip install distributed"), "{bare_said}");
    std::fs::remove_file(bare).unwrap();
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_program_that_is_interrupted_leaves_no_task_behind() {
    if is_again() {
        let pool = DaskPool::connect_to(std::env::var("PARALLEL_DASK").unwrap());
        let tasks: Vec<_> = (0..20).map(|x| nap::on(&pool).submit((60_000, x))).collect();
        while !tasks.iter().any(|task| task.is_running()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("\nrunning");
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let cluster = Cluster::start(1);
    for signal in ["-INT", "-KILL"] {
        let mut again = run_again(
            "faults::a_program_that_is_interrupted_leaves_no_task_behind",
            &[("PARALLEL_DASK", &cluster.address())],
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(again.stdout.take().unwrap()));
        assert!(lines.map_while(Result::ok).any(|line| line == "running"));
        Command::new("kill").args([signal, &again.id().to_string()]).status().unwrap();
        again.wait().unwrap();
        // The only thread of the cluster is free.
        let begun = Instant::now();
        assert_eq!(nap::on(&cluster.pool()).call((1, 5)), 5);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?} after {signal}", begun.elapsed());
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn an_executable_that_cannot_run_there_is_told() {
    // The part of the plugin that looks.
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/parallel-runtime/src/dask/node.py");
    let directory = std::env::temp_dir().join(format!("parallel-foreign-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        std::fs::write(&path, bytes).unwrap();
        Command::new("chmod").arg("+x").arg(&path).status().unwrap();
        let script = "import sys\nscope = {'__name__': 'node'}\nexec(open(sys.argv[1]).read(), scope)\nscope['check'](sys.argv[2], 'SOME')";
        let output = Command::new(python()).args(["-c", script, node]).arg(&path).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let mut elf = std::fs::read("/proc/self/exe").unwrap();
    elf.truncate(4096);
    // A number that no CPU has: a machine may have emulators for others.
    elf[18..20].copy_from_slice(&0x7777_u16.to_le_bytes());
    assert!(check("foreign", &elf).contains("another CPU"));
    assert!(check("loader", b"#!/nowhere/ld.so\n").contains("loader"));
    assert!(
        check("library", b"#!/bin/sh\necho libpdf.so.2 is missing >&2\nexit 127\n").contains("libpdf.so.2 is missing")
    );
    std::fs::remove_dir_all(directory).unwrap();
}

#[parallel(mode = "dask")]
fn note(path: String, milliseconds: u64) {
    std::fs::write(path, "ran").unwrap();
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn what_is_cancelled_does_not_run_on_a_worker_that_comes_later() {
    let mut cluster = Cluster::start(1);
    let pool = cluster.pool();
    // So that many of them go into one submission.
    assert_eq!(nap::on(&pool).map((0..20).map(|x| (0, x))).len(), 20);
    let path = |x: u32| {
        std::env::temp_dir().join(format!("parallel-note-{}-{x}", std::process::id())).to_str().unwrap().to_owned()
    };
    (0..30).for_each(|x| _ = std::fs::remove_file(path(x)));
    assert!(note::on(&pool).try_map([(path(0), 0)])[0].is_ok());
    let busy: Vec<_> = (0..12).map(|_| nap::on(&pool).submit((2_000, 0))).collect();
    let tasks: Vec<_> = (1..30).map(|x| note::on(&pool).submit((path(x), 0))).collect();
    let cancelled: Vec<_> = (5..10).filter(|x| tasks[*x].cancel()).collect();
    assert!(!cancelled.is_empty());
    cluster.kill_worker(0);
    cluster.add_worker();
    busy.iter().for_each(|task| _ = task.kill());
    for (x, task) in tasks.into_iter().enumerate() {
        match task.join() {
            Err(TaskError::Cancelled) => assert!(cancelled.contains(&x)),
            other => other.unwrap(),
        }
        let ran = std::fs::remove_file(path(x as u32 + 1)).is_ok();
        assert_eq!(ran, !cancelled.contains(&x), "{x}");
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_worker_that_dies_while_data_is_brought_there_costs_nothing() {
    use parallel_runtime::{SharedSlice, SharedVec};
    #[parallel(mode = "dask")]
    fn look_up(table: SharedSlice<u64>, index: usize) -> u64 {
        table[index]
    }
    let mut cluster = Cluster::start(2);
    let pool = cluster.pool();
    pool.start().unwrap();
    let table = SharedVec::from_fn(20 << 20, |index| index as u64).share();
    let tasks: Vec<_> = (0..10).map(|index| look_up::on(&pool).submit((table.clone(), index))).collect();
    std::thread::sleep(Duration::from_millis(600));
    cluster.kill_worker(0);
    for (index, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), index as u64);
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_pool_that_is_killed_while_it_connects_leaves_no_bridge() {
    if !is_again() {
        let cluster = Cluster::start(1);
        let again = run_again(
            "faults::a_pool_that_is_killed_while_it_connects_leaves_no_bridge",
            &[("PARALLEL_DASK", &cluster.address())],
        );
        let again = { again }.output().unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        return;
    }
    let pool = DaskPool::connect_to(std::env::var("PARALLEL_DASK").unwrap());
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| pool.start());
        std::thread::sleep(Duration::from_millis(150));
        pool.kill();
        assert!(matches!(starting.join().unwrap(), Err(PoolError::Closed)));
    });
    let children =
        Command::new("pgrep").args(["-P", &std::process::id().to_string(), "-f", "parallel-bridge"]).output();
    assert!(children.unwrap().stdout.is_empty(), "a bridge is left");
}
