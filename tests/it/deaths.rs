//! Workers that die: what it costs, and what goes on.

use std::time::Duration;

use parallel_runtime::{ProcessPool, TaskError, parallel};
use parallel_workspace::{eventually, is_alive};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum End {
    Abort,
    Kill,
    Segfault,
    Exit(i32),
    ExitNow(i32),
    Overflow,
    CloseEverything,
    No,
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn overflow(depth: u64) -> u64 {
    std::hint::black_box([depth; 64]);
    overflow(depth + 1) + 1
}

#[parallel(mode = "process", pool = 2)]
fn end(how: End, x: u64) -> u64 {
    match how {
        End::Abort => std::process::abort(),
        End::Kill => {
            // SAFETY: kill has no preconditions.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            unreachable!("SIGKILL cannot be survived")
        }
        End::Segfault => {
            // SAFETY: none: this is the fault under test.
            unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
            x
        }
        End::Exit(code) => std::process::exit(code),
        // SAFETY: _exit has no preconditions.
        End::ExitNow(code) => unsafe { libc::_exit(code) },
        End::Overflow => overflow(0),
        End::CloseEverything => {
            for descriptor in 0..1024 {
                // SAFETY: closing a descriptor is safe for memory; what breaks is this process, which is the point.
                unsafe { libc::close(descriptor) };
            }
            x
        }
        End::No => x,
    }
}

/// How a task ended that was to end its worker.
fn death(how: End) -> (Option<i32>, Option<i32>) {
    match end::submit(how, 0).join() {
        Err(TaskError::WorkerDied { pid, signal, exit_code, .. }) => {
            assert_ne!(pid, std::process::id());
            (signal, exit_code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_way_to_die_is_told_by_signal_or_exit_code() {
    assert_eq!(death(End::Abort), (Some(libc::SIGABRT), None));
    assert_eq!(death(End::Kill), (Some(libc::SIGKILL), None));
    assert_eq!(death(End::Segfault), (Some(libc::SIGSEGV), None));
    assert_eq!(death(End::Overflow), (Some(libc::SIGSEGV), None));
    assert_eq!(death(End::Exit(0)), (None, Some(0)));
    assert_eq!(death(End::Exit(3)), (None, Some(3)));
    assert_eq!(death(End::ExitNow(4)), (None, Some(4)));
    assert_eq!(end(End::No, 7), 7);
}

#[test]
fn the_message_names_function_process_and_signal() {
    let error = end::submit(End::Segfault, 0).join().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("deaths::end") && text.contains("SIGSEGV"), "{text}");
    let TaskError::WorkerDied { pid, .. } = error else { panic!("{error:?}") };
    assert!(text.contains(&pid.to_string()), "{text}");
}

#[test]
fn a_call_panics_with_the_message() {
    let payload = std::panic::catch_unwind(|| end(End::Abort, 0)).unwrap_err();
    let text = payload.downcast_ref::<String>().expect("a text");
    assert!(text.contains("SIGABRT"), "{text}");
}

#[test]
fn a_worker_that_closed_all_its_descriptors_costs_one_task_at_most() {
    // The task itself may or may not get its result out; the pool must go on.
    let _ = end::submit(End::CloseEverything, 1).join();
    for x in 0..20 {
        assert_eq!(end(End::No, x), x);
    }
}

#[parallel(mode = "process")]
fn lasting(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(100));
    x
}

#[test]
fn a_worker_without_descriptors_finishes_what_it_runs_before_it_is_replaced() {
    let pool = ProcessPool::new(1);
    assert_eq!(lasting::on(&pool).call(0), 0);
    for x in 0..5 {
        let before = pool.worker_pids();
        let closing = end::on(&pool).submit((End::CloseEverything, x));
        // The worker begins it before the program has seen what became of the descriptors.
        let next = lasting::on(&pool).submit(x);
        assert_eq!(closing.join().unwrap(), x);
        assert_eq!(next.join().unwrap(), x);
        assert!(eventually(|| {
            let now = pool.worker_pids();
            !now.is_empty() && now != before
        }));
    }
    assert!(eventually(|| pool.stats().replaced == 5), "{:?}", pool.stats());
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[test]
fn one_death_among_twelve_costs_one_task() {
    for how in [End::Abort, End::Kill, End::Exit(0), End::Overflow] {
        let tasks: Vec<_> = (0..12).map(|x| end::submit(if x == 5 { how } else { End::No }, x)).collect();
        let results: Vec<_> = tasks.into_iter().map(|task| task.join()).collect();
        for (x, result) in results.iter().enumerate() {
            match result {
                Ok(value) => assert!(x != 5 && *value == x as u64),
                Err(TaskError::WorkerDied { .. }) => assert_eq!(x, 5),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn deaths_in_a_map_cost_their_items_alone_and_no_item_runs_twice() {
    let directory = parallel_workspace::scratch("once");
    let path = directory.join("log").to_string_lossy().into_owned();
    let items = (0..400_u64).map(|x| (path.clone(), x));
    let results = log_and_end::options().chunk(50).try_map(items);
    for (x, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert!(x % 97 != 5 && *value == x as u64),
            Err(error @ TaskError::WorkerDied { .. }) => assert_eq!(x % 97, 5, "item {x}: {error}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    let log = std::fs::read_to_string(&path).unwrap();
    let mut ran: Vec<u64> = log.lines().map(|line| line.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..400).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory).unwrap();
}

#[parallel(mode = "process", pool = 2)]
fn log_and_end(path: String, x: u64) -> u64 {
    use std::io::Write;
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one piece: two workers append at the same time.
    log.write_all(format!("{x}\n").as_bytes()).unwrap();
    if x % 97 == 5 {
        std::process::abort();
    }
    x
}

#[test]
fn a_map_panics_with_the_death_of_its_worker() {
    let items = (0..100_u64).map(|x| (if x == 50 { End::Abort } else { End::No }, x));
    let payload = std::panic::catch_unwind(|| end::map(items)).unwrap_err();
    assert!(payload.downcast_ref::<String>().is_some_and(|text| text.contains("SIGABRT")));
}

#[test]
fn a_dead_worker_is_replaced() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let before = pool.worker_pids();
    assert_eq!(before.len(), 2);
    assert!(end::on(&pool).submit((End::Abort, 0)).join().is_err());
    assert!(eventually(|| pool.worker_pids().len() == 2 && pool.worker_pids() != before));
    assert_eq!(pool.stats().worker_deaths, 1);
    assert_eq!(end::on(&pool).map((0..100).map(|x| (End::No, x))).len(), 100);
}

#[test]
fn workers_killed_from_outside_lose_no_task_but_the_one_they_ran() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let tasks: Vec<_> = (0..200_u64).map(|x| slow::on(&pool).submit(x)).collect();
    for _ in 0..20 {
        for pid in pool.worker_pids() {
            // SAFETY: kill has no preconditions; the process is a worker of ours.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    let (mut done, mut died) = (0, 0);
    for (x, task) in tasks.into_iter().enumerate() {
        match task.join() {
            Ok(value) => {
                assert_eq!(value, x as u64);
                done += 1;
            }
            Err(TaskError::WorkerDied { signal, .. }) => {
                assert_eq!(signal, Some(libc::SIGKILL));
                died += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(done + died, 200);
    assert!(died <= 40, "{died} tasks died of 40 kills");
}

#[parallel(mode = "process", pool = 2)]
fn slow(x: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(500));
    x
}

#[test]
fn a_storm_of_kills_over_tiny_tasks_loses_none() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop_at_the_end = SetAtEnd(&stop);
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if let Some(pid) = pool.worker_pids().first() {
                    // SAFETY: kill has no preconditions; the process is a worker of ours.
                    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        for _ in 0..20 {
            let tasks: Vec<_> = (0..5000_u64).map(|x| end::on(&pool).submit((End::No, x))).collect();
            for (x, task) in tasks.into_iter().enumerate() {
                match task.join() {
                    Ok(value) => assert_eq!(value, x as u64),
                    Err(TaskError::WorkerDied { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            let results = end::on(&pool).try_map((0..5000).map(|x| (End::No, x)));
            let mut died = 0;
            for (x, result) in results.into_iter().enumerate() {
                match result {
                    Ok(value) => assert_eq!(value, x as u64),
                    Err(TaskError::WorkerDied { .. }) => died += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            assert!(died < 500, "{died} of 5000 items died with their workers");
        }
    });
}

/// Stops a helper thread, also when an assertion fails.
struct SetAtEnd<'s>(&'s std::sync::atomic::AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn the_slice_of_a_task_that_died_is_as_it_was() {
    let mut numbers = vec![1.0; 1000];
    let results = double_or_die::try_map(numbers.chunks_mut(100).enumerate());
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    for (index, chunk) in numbers.chunks(100).enumerate() {
        let expected = if index == 3 { 1.0 } else { 2.0 };
        assert!(chunk.iter().all(|number| *number == expected), "chunk {index}");
    }
}

#[parallel(mode = "process", pool = 2)]
fn double_or_die(index: usize, numbers: &mut [f64]) {
    numbers.iter_mut().for_each(|number| *number *= 2.0);
    if index == 3 {
        std::process::abort();
    }
}

#[test]
fn a_spawned_process_that_dies_says_so() {
    let process = end::spawn(End::Abort, 1);
    let pid = process.pid().expect("it is a process");
    match process.join() {
        Err(TaskError::WorkerDied { pid: dead, signal, .. }) => assert_eq!((dead, signal), (pid, Some(libc::SIGABRT))),
        other => panic!("{other:?}"),
    }
    assert!(eventually(|| !is_alive(pid)));
}

#[test]
fn a_spawned_process_can_be_killed() {
    let process = forever::spawn();
    let pid = process.pid().expect("it is a process");
    assert!(is_alive(pid) && !process.is_finished());
    assert!(process.kill());
    assert!(!is_alive(pid));
    assert!(matches!(process.join(), Err(TaskError::Cancelled)));
}

#[parallel(mode = "process", pool = 2)]
fn forever() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
