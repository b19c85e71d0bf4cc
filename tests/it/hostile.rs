//! Workers that know how shared memory is laid out, and use it against the program: each of these once harmed it, and must not again.
//! What random words can do is tested by the program `hostile`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, SharedArray, SharedSlice, SharedVec, TaskError, parallel};

/// Nothing waits for what does not come.
const SOON: Duration = Duration::from_secs(60);

/// Runs something that must come to an end.
fn soon<R: Send + 'static>(action: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(action()));
    told.recv_timeout(SOON).expect("it comes to an end")
}

/// Whether this test is alone in its program, since it does harm to others. If not, it is run in one of its own.
fn alone(test: &str) -> bool {
    const VARIABLE: &str = "PARALLEL_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    let status = program.args(["--exact", &format!("hostile::{test}")]).env(VARIABLE, "1").status().unwrap();
    assert!(status.success());
    false
}

/// Where the arena is mapped in this process.
fn arena() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let is_arena = |line: &&str| line.contains("memfd:parallel") || line.contains("/dev/shm/parallel-");
    let line = maps.lines().find(is_arena).expect("there is an arena");
    let start = line.split('-').next().and_then(|start| usize::from_str_radix(start, 16).ok());
    start.expect("a line begins with an address")
}

/// A word of the arena.
fn word(offset: usize) -> *mut u64 {
    std::ptr::with_exposed_provenance_mut(arena() + offset)
}

extern "C" fn stay(_signal: i32) {
    loop {
        // SAFETY: it only waits.
        unsafe { libc::pause() };
    }
}

#[test]
fn a_worker_that_comes_back_for_no_more_work_is_replaced() {
    static POOL: ProcessPool = ProcessPool::new(1).timeout(Duration::from_secs(1));

    /// Ends in order; soon afterwards the thread of the tasks enters a signal handler that does not return.
    #[parallel(mode = "process", pool = POOL)]
    fn never_comes_back() {
        // SAFETY: these have no preconditions; the handler only waits.
        let (thread, _) = unsafe {
            (
                libc::syscall(libc::SYS_gettid),
                libc::signal(libc::SIGUSR1, stay as extern "C" fn(i32) as libc::sighandler_t),
            )
        };
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            // SAFETY: the thread is one of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
        });
    }

    #[parallel(mode = "process", pool = POOL)]
    fn honest(x: u64) -> u64 {
        x
    }

    never_comes_back();
    std::thread::sleep(Duration::from_millis(300));
    let results = soon(|| honest::try_map([1, 2, 3]));
    assert!(results.iter().zip([1, 2, 3]).all(|(result, x)| matches!(result, Ok(y) if *y == x)), "{results:?}");
    assert_eq!(POOL.stats().worker_deaths, 1);
}

#[test]
fn a_length_that_a_worker_has_made_up_is_an_error_of_its_task() {
    /// Slots are 256 bytes long; their arguments begin in the sixth word, the length of the result is the eighteenth.
    const SLOT: usize = 32;
    /// Behind the tables.
    const FIRST: usize = (1 << 30) / 256;
    const MAGIC: u64 = 0x1234_5678_9abc_def1;

    /// The slot in which the task lies, which a thread writes over from then on.
    static SLOT_OF_TASK: AtomicUsize = AtomicUsize::new(0);

    #[parallel(mode = "process", pool = 1)]
    fn lies(magic: u64) -> u64 {
        if SLOT_OF_TASK.load(Ordering::Relaxed) == 0 {
            let arena = word(0);
            // SAFETY: none: this is the fault under test.
            let holds_it = |slot: &usize| unsafe { arena.add(slot * SLOT + 6).read_volatile() } == magic;
            let slot = (FIRST..FIRST + (64 << 20) / 256).find(holds_it).expect("it lies in a slot");
            SLOT_OF_TASK.store(slot, Ordering::Relaxed);
            std::thread::spawn(move || {
                let length = word(slot * SLOT * 8).addr() + 18 * 8;
                loop {
                    // SAFETY: none, as above.
                    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(length).write_volatile(u64::MAX) };
                    std::hint::spin_loop();
                }
            });
        }
        magic
    }

    if !alone("a_length_that_a_worker_has_made_up_is_an_error_of_its_task") {
        return;
    }
    // It takes turns with the worker, so it may come too late some times.
    let begun = Instant::now();
    loop {
        match soon(|| lies::submit(MAGIC).join()) {
            Ok(MAGIC) if begun.elapsed() < SOON => {}
            Err(TaskError::Decode { what: "result", .. }) => break,
            other => panic!("{other:?}"),
        }
    }
}

/// Not where pages cannot be given back: all that is taken is filled with zeros there.
#[cfg(not(parallel_portable))]
#[test]
fn addresses_that_a_dead_worker_had_taken_come_back() {
    #[parallel(mode = "process", pool = 1)]
    fn takes_all() -> usize {
        let (mut all, mut size) = (Vec::new(), 1_usize << 40);
        while size >= 1 << 20 {
            match SharedVec::<u8>::try_zeroed(size) {
                Ok(taken) => all.push(taken),
                Err(_) => size = size / 8 * 7,
            }
        }
        if std::hint::black_box(all.len()) > 0 {
            std::process::abort();
        }
        all.len()
    }

    if !alone("addresses_that_a_dead_worker_had_taken_come_back") {
        return;
    }
    assert!(matches!(takes_all::submit().join(), Err(TaskError::WorkerDied { .. })));
    assert!(parallel_workspace::eventually(|| parallel_runtime::shared_usage().objects == 0));
    let vecs: Vec<_> = (0..1000).map(|size| SharedVec::<u8>::try_zeroed(5000 + size).expect("there is room")).collect();
    assert_eq!(vecs.len(), 1000);
}

/// Not where pages cannot be given back: all that is taken is filled with zeros there.
#[cfg(not(parallel_portable))]
#[test]
fn a_living_worker_cannot_take_all_addresses_nor_all_numbers_of_objects() {
    /// Takes all that it can get, tells it, and stays.
    #[parallel(mode = "process", pool = 1)]
    fn keeps_all(told: parallel_runtime::SharedEvent) {
        let (mut all, mut size) = (Vec::new(), 1_usize << 40);
        while size >= 1 << 20 {
            match SharedVec::<u8>::try_zeroed(size) {
                Ok(taken) => all.push(taken),
                Err(_) => size = size / 8 * 7,
            }
        }
        // And what is left for small ones, which count, too.
        while let Ok(small) = SharedVec::<u8>::try_zeroed(1) {
            all.push(small);
        }
        told.set();
        std::thread::sleep(SOON);
    }

    if !alone("a_living_worker_cannot_take_all_addresses_nor_all_numbers_of_objects") {
        return;
    }
    let told = parallel_runtime::SharedEvent::new();
    let task = keeps_all::submit(told.clone());
    told.wait();
    let vecs: Vec<_> = (0..1000).map(|size| SharedVec::<u8>::try_zeroed(5000 + size).expect("there is room")).collect();
    assert!(SharedVec::<u8>::try_zeroed(1 << 36).is_ok() && vecs.len() == 1000);
    task.kill();
    assert!(task.join().is_err());
}

#[test]
fn a_lock_that_names_the_program_is_poisoned_if_the_program_does_not_hold_it() {
    /// Writes a word back that was there before, and dies.
    #[parallel(mode = "process", pool = 1)]
    fn names_the_program(offset: usize, word_before: u64) {
        // SAFETY: none: this is the fault under test.
        unsafe { word(offset).write_volatile(word_before) };
        std::process::abort();
    }

    #[parallel(mode = "process", pool = 1)]
    fn first(array: SharedArray<u64>) -> (u64, bool) {
        (array.get(0), array.is_poisoned())
    }

    for by_worker in [false, true] {
        let array = SharedArray::<u64>::from_slice(&[7; 100]);
        let (offset, held) = {
            let guard = array.lock().unwrap();
            // The lock lies in the words before the elements; its word has the process's place and, from bit 16 on, an odd number.
            let elements = guard.as_ptr().addr() - arena();
            let mut before = (0..32).map(|back| elements - 8 * back).map(|offset| {
                // SAFETY: these words belong to the object.
                (offset, unsafe { word(offset).read_volatile() })
            });
            before.find(|(_, word)| *word >> 32 != 0 && *word & 1 << 16 != 0).expect("the lock is held")
        };
        let death = names_the_program::submit(offset, held).join();
        assert!(matches!(death, Err(TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. })), "{death:?}");
        let again = array.clone();
        let (value, poisoned) =
            soon(move || if by_worker { first(again) } else { (again.get(0), again.is_poisoned()) });
        assert_eq!((value, poisoned), (7, true), "by a worker: {by_worker}");
    }
}

#[test]
fn what_is_zeroed_is_zeros_whatever_a_worker_has_written_where_it_had_nothing() {
    const REACH: usize = 64 << 20;
    const PAGE: usize = 4096;

    #[parallel(mode = "process", pool = 1)]
    fn writes_behind(hint: SharedSlice<u8>) {
        let start = hint.as_ptr().addr() - arena();
        for offset in (0..REACH).step_by(PAGE) {
            let at = word((start + hint.len()).next_multiple_of(PAGE) + offset + 8);
            // SAFETY: none: this is the fault under test. Zeros are written over: what the pool itself has there is left alone.
            if unsafe { at.read_volatile() } == 0 {
                // SAFETY: none, as above.
                unsafe { at.write_volatile(0x5a5a) };
            }
        }
    }

    if !alone("what_is_zeroed_is_zeros_whatever_a_worker_has_written_where_it_had_nothing") {
        return;
    }
    let hint = SharedVec::<u8>::zeroed(1 << 20).share();
    writes_behind(hint);
    let vecs: Vec<_> = (0..32).map(|_| SharedVec::<u64>::zeroed((1 << 20) / 8)).collect();
    for vec in &vecs {
        assert!(vec.iter().all(|word| *word == 0));
    }
    let array = SharedArray::<u64>::new(100_000);
    assert!(array.to_vec().iter().all(|word| *word == 0));
}

#[test]
fn a_worker_that_says_it_ends_and_does_not_is_ended() {
    struct Endless;
    impl Drop for Endless {
        fn drop(&mut self) {
            loop {
                std::thread::park();
            }
        }
    }
    fn make() -> Endless {
        Endless
    }
    #[parallel(mode = "process", state = make)]
    fn pid(#[worker] _endless: &Endless) -> u32 {
        std::process::id()
    }
    let pool = ProcessPool::new(1);
    let worker = pid::on(&pool).call(());
    soon(move || pool.shutdown());
    assert!(!parallel_workspace::is_alive(worker));
}
