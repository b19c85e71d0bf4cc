//! `memory_limit`.

use parallel_runtime::{ProcessPool, TaskError, parallel};

const MIB: usize = 1 << 20;

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Eat {
    Free(usize),
    Leak(usize),
    LibC(usize),
}

/// Takes memory, and gives the process and how much it got.
#[parallel(mode = "process", pool = 1, memory_limit = "200MiB")]
fn eat(how: Eat) -> (u32, usize) {
    let got = match how {
        Eat::Free(bytes) => std::hint::black_box(vec![1_u8; bytes]).len(),
        Eat::Leak(bytes) => Box::leak(vec![1_u8; bytes].into_boxed_slice()).len(),
        Eat::LibC(bytes) => {
            // SAFETY: malloc has no preconditions.
            let memory = unsafe { libc::malloc(bytes) };
            if memory.is_null() { 0 } else { bytes }
        }
    };
    (std::process::id(), got)
}

#[test]
fn an_allocation_beyond_the_limit_costs_its_task_and_says_so() {
    assert_eq!(eat(Eat::Free(150 * MIB)).1, 150 * MIB);
    let error = eat::submit(Eat::Free(300 * MIB)).join().unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. }), "{error}");
    assert!(error.to_string().contains("probably out of memory: its `memory_limit` is 200 MiB"), "{error}");
    assert_eq!(eat(Eat::LibC(300 * MIB)).1, 0, "C code is told that there is no more");
    assert_eq!(eat(Eat::Free(150 * MIB)).1, 150 * MIB);
}

#[test]
fn what_tasks_leave_behind_costs_no_later_task() {
    // Far more than the limit in all; each task finds at least half of it.
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let (pid, got) = eat(Eat::Leak(30 * MIB));
        assert_eq!(got, 30 * MIB);
        pids.insert(pid);
        assert_eq!(eat(Eat::Free(90 * MIB)).1, 90 * MIB);
    }
    assert!(pids.len() > 3, "workers were replaced: {pids:?}");
}

#[test]
fn a_fast_leak_is_seen_before_the_next_task() {
    static POOL: ProcessPool = ProcessPool::new(1).memory_limit(64 << 20);
    #[parallel(mode = "process", pool = POOL)]
    fn take(mebibytes: usize, keep: bool) -> usize {
        // Not touched: that takes microseconds.
        let memory: Vec<u8> = Vec::with_capacity(mebibytes * MIB);
        let capacity = memory.capacity();
        if keep {
            std::mem::forget(memory);
        }
        capacity
    }
    for _ in 0..20 {
        assert!(take(40, true) > 0);
        assert!(take(30, false) > 0);
    }
    let items: Vec<_> = (0..60).flat_map(|_| [(40, true), (30, false)]).collect();
    assert!(take::options().chunk(10).try_map(items).iter().all(Result::is_ok));
}
