//! Things that programs do to themselves, before or after they use a pool.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parallel_runtime::{
    PoolError, ProcessPool, SharedEvent, SharedLock, SharedSemaphore, SharedValue, SharedVec, TaskError, parallel,
};

#[parallel(mode = "process", pool = 2)]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(mode = "process", pool = 2)]
fn directory() -> PathBuf {
    std::env::current_dir().expect("there is one")
}

#[parallel(mode = "process", pool = 1)]
fn die() {
    std::process::abort();
}

#[parallel(mode = "process", pool = 1)]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn check(result: i32) {
    assert!(result >= 0, "{}", io::Error::last_os_error());
}

/// Runs `child` in a fork of this process, and gives what it exits with.
fn in_fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child is a copy of this thread alone; what it does takes no lock that another thread may have held.
    match unsafe { libc::fork() } {
        0 => {
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(99);
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(code) }
        }
        pid => {
            check(pid);
            let mut status = 0;
            // SAFETY: waits for a child of ours; `status` is a variable of ours.
            check(unsafe { libc::waitpid(pid, &raw mut status, 0) });
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
        }
    }
}

pub(crate) fn run(what: &str) {
    match what {
        "fork-before" => {
            let code = in_fork(|| i32::from(add(1, 2) != 3));
            assert_eq!(code, 0, "a pool works in the child of a program that has not used one");
            assert_eq!(add(1, 2), 3);
        }
        "fork-after" => fork_after(),
        "fork-with-threads" => fork_with_threads(),
        "close-stdout" => {
            // SAFETY: closing a descriptor is safe for memory.
            unsafe { libc::close(1) };
            #[parallel(mode = "process", pool = 1)]
            fn print(x: u64) -> u64 {
                println!("{}", "into nothing ".repeat(1000));
                x
            }
            for x in 0..50 {
                assert_eq!(print(x), x);
            }
            // What tells the test.
            std::fs::write("/proc/self/fd/2", "ok\n").expect("stderr is open");
            return;
        }
        "close-and-start" => close_and_start(),
        "stderr-locked" => {
            #[parallel(mode = "process", pool = 1)]
            fn complain() {
                for _ in 0..20_000 {
                    eprintln!("a line of some length, so that together they are more than a pipe holds");
                }
            }
            let _locked = std::io::stderr().lock();
            complain();
        }
        "change-directory" => {
            let first = directory();
            std::env::set_current_dir("/").expect("there is a root");
            assert_eq!(directory(), first, "a worker stays where it was started");
            let pool = ProcessPool::new(1);
            assert_eq!(
                directory::on(&pool).call(()),
                PathBuf::from("/"),
                "and a later one starts where the program is"
            );
        }
        "fork-with-shared-objects" => fork_with_shared_objects(),
        "close-before" => {
            close_all();
            assert_eq!(add(1, 2), 3);
        }
        "close-after" => close_after(),
        "ignore-children" => ignore_children(),
        "drop-privileges-before" => {
            drop_privileges();
            works_in_full();
        }
        "drop-privileges-after" => {
            assert_eq!(add(1, 2), 3);
            let task = spin::options().timeout(Duration::from_millis(200)).submit(());
            while !task.is_running() {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop_privileges();
            // The worker has rights that the program has no more: it cannot be signalled, and still ends.
            assert!(matches!(task.join(), Err(TaskError::TimedOut { .. })));
            works_in_full();
        }
        "umask" => {
            // SAFETY: umask has no preconditions.
            unsafe { libc::umask(0) };
            assert_eq!(add(1, 2), 3);
            let modes = mapped_modes();
            assert!(!modes.is_empty() && modes.iter().all(|mode| mode & 0o077 == 0), "{modes:?}");
        }
        "limits" => limits(),
        "interrupt" => interrupt(),
        "signals" => signals(),
        "drop-threads" => without_threads(),
        "descriptor" => descriptor(),
        "old-kernel" => old_kernel(),
        other => panic!("`{other}` is no habit"),
    }
    println!("ok");
}

fn works_in_full() {
    assert_eq!(add::map((0..1000).map(|x| (x, 1))).len(), 1000);
    assert!(matches!(die::submit().join(), Err(TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. })));
    let late = spin::options().timeout(Duration::from_millis(50)).submit(());
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    assert_eq!(add(1, 2), 3);
}

#[parallel(mode = "process", pool = 2)]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[parallel(pool = 2)]
fn nap_on_thread(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// The threads of a pool are not in the child: nothing there waits for them.
fn fork_with_threads() {
    let pool = parallel_runtime::ThreadPool::new(2);
    let waiting = nap_on_thread::on(&pool).submit(300);
    let code = in_fork(|| {
        let refused = matches!(nap_on_thread::on(&pool).submit(1).join(), Err(TaskError::Spawn(_)));
        pool.shutdown();
        i32::from(!refused)
    });
    assert_eq!(code, 0);
    assert_eq!(waiting.join().expect("it is the parent's"), 300);
}

/// What the child does to shared objects does not reach its parent: it panics, or does nothing.
fn fork_with_shared_objects() {
    let (value, lock, semaphore) = (SharedValue::new(1_u64), SharedLock::new(), SharedSemaphore::new(1));
    let event = SharedEvent::new();
    // No pool has been used.
    let lock_value = || value.lock().expect("no process has died");
    let mut held = Some((lock_value(), lock.lock().expect("no process has died"), semaphore.acquire()));
    let panics = |what: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).is_err();
    let code = in_fork(|| {
        if let Some((value, ..)) = &mut held {
            **value = 99;
        }
        held = None;
        let refused = [
            panics(&|| value.set(99)),
            panics(&|| drop(lock.try_lock())),
            panics(&|| drop(semaphore.try_acquire())),
            panics(&|| event.set()),
            panics(&|| drop(SharedVec::from_slice(&[1]))),
            add::submit(1, 2).join().is_err(),
        ];
        refused.iter().filter(|refused| !**refused).count() as i32
    });
    assert_eq!(code, 0);
    assert_eq!((semaphore.available(), event.is_set()), (0, false));
    let theirs = std::thread::scope(|scope| scope.spawn(|| lock.try_lock().is_ok_and(|guard| guard.is_some())).join());
    assert!(!theirs.expect("it does not panic"), "the child has let go of its parent's lock");
    drop(held);
    assert_eq!((value.get(), semaphore.available()), (1, 1));
    assert_eq!(add(1, 2), 3);
}

fn fork_after() {
    let pool = ProcessPool::new(2);
    assert_eq!(add::on(&pool).call((1, 2)), 3);
    let waiting = nap::on(&pool).submit(200);
    let pids = pool.worker_pids();
    let code = in_fork(|| {
        let refused = |result: Result<u64, TaskError>| match result {
            Err(TaskError::Spawn(error)) => error.to_string().contains("forked"),
            _ => false,
        };
        let mut right = refused(add::submit(1, 2).join());
        right &= refused(add::on(&pool).submit((1, 2)).join());
        right &= refused(ProcessPool::new(1).start().map(|()| 0).map_err(|error| match error {
            PoolError::Spawn(error) => TaskError::Spawn(error),
            _ => TaskError::PoolClosed,
        }));
        right &= !waiting.kill() && !waiting.cancel();
        // Neither of these may reach the parent's workers.
        pool.kill();
        pool.shutdown();
        i32::from(!right)
    });
    assert_eq!(code, 0, "the child gets errors");
    assert_eq!(waiting.join().expect("it is the parent's"), 200);
    assert_eq!(pool.worker_pids(), pids, "and the parent's workers are as they were");
    assert_eq!(add::on(&pool).call((1, 2)), 3);
    // A child that lives on with copies of all descriptors does not keep workers alive.
    drop(pool);
}

/// Closes all descriptors but the standard streams, as programs do that become daemons.
fn close_all() {
    // SAFETY: the call is safe for memory; whose descriptors are closed is the point.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) } as i32);
}

fn close_after() {
    // All workers are there: while one is started, the standard library holds descriptors that it closes by their numbers.
    let pool = ProcessPool::new(2);
    pool.start().expect("workers start");
    assert_eq!(add::on(&pool).call((1, 2)), 3);
    let slow = spin::on(&pool).submit(());
    while !slow.is_running() {
        std::thread::yield_now();
    }
    close_all();
    // What the program opens now gets the numbers that were ours; it must not be written to.
    let path = std::env::temp_dir().join(format!("parallel-test-close-{}", std::process::id()));
    let files: Vec<_> = (0..40).map(|_| std::fs::File::create(&path).expect("it can be made")).collect();
    let begun = Instant::now();
    let closed = |result: Result<(), TaskError>| match result {
        Err(TaskError::Spawn(error)) => assert!(error.to_string().contains("closed descriptors"), "{error}"),
        // It may have been noticed by its worker's end first.
        Err(TaskError::WorkerDied { .. }) => {}
        other => panic!("{other:?}"),
    };
    closed(slow.join());
    // Workers may answer once more before they notice; then there are errors, and nothing hangs.
    while add::on(&pool).submit((1, 2)).join().is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    closed(add::on(&pool).submit((1, 2)).join().map(drop));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 0, "it was written into");
    assert!(files.iter().all(|file| file.metadata().is_ok()), "they were closed");
    std::fs::remove_file(path).expect("it is there");
}

/// After the descriptors are gone, nothing hangs: neither starting, nor spawning, nor closing.
fn close_and_start() {
    let (first, second, third) = (ProcessPool::new(2), ProcessPool::new(1), ProcessPool::new(1));
    // Not while a worker is being started, as above.
    first.start().and_then(|()| third.start()).expect("workers start");
    assert_eq!(add::on(&first).call((1, 2)), 3);
    assert_eq!(add::on(&third).call((1, 2)), 3);
    close_all();
    let sockets: Vec<_> = (0..20).map(|_| std::os::unix::net::UnixStream::pair().expect("it can be made")).collect();
    assert!(second.start().is_err());
    assert!(add::spawn(1, 2).join().is_err());
    first.shutdown();
    third.kill();
    // What is under our old numbers has not been hung up.
    use std::io::{Read, Write};
    for (mut ours, mut theirs) in sockets {
        ours.write_all(b"x").expect("it is open");
        theirs.read_exact(&mut [0]).expect("it is open");
    }
}

fn ignore_children() {
    // SAFETY: `SIG_IGN` is a valid action.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    assert_eq!(add(1, 2), 3);
    // How it ended is unknown, but for what its own handler has noted.
    match die::submit().join() {
        Err(TaskError::WorkerDied { signal: None, exit_code: None, reason, .. }) => {
            assert!(reason.contains("SIGCHLD"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let late = spin::options().timeout(Duration::from_millis(50)).submit(());
    assert!(matches!(late.join(), Err(TaskError::TimedOut { .. })));
    assert_eq!(add(1, 2), 3);
    let pool = ProcessPool::new(2);
    pool.start().expect("workers start");
    pool.shutdown();
}

fn drop_privileges() {
    // SAFETY: the three calls have no preconditions. All threads get the new identity.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()));
        check(libc::setgid(65534));
        check(libc::setuid(65534));
    }
}

/// The modes of the shared memory objects that this process has open.
fn mapped_modes() -> Vec<u32> {
    use std::os::unix::fs::PermissionsExt;
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs is mounted").flatten();
    let shm = entries.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("/dev/shm/parallel-"))
    });
    shm.filter_map(|entry| Some(std::fs::metadata(entry.path()).ok()?.permissions().mode())).collect()
}

fn limit(resource: crate::Resource, most: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a variable of ours, which the call writes.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) });
    limit.rlim_cur = most.min(limit.rlim_max);
    // SAFETY: `limit` is a valid `rlimit`, which the call only reads.
    check(unsafe { libc::setrlimit(resource, &raw const limit) });
}

/// Limits that change while a pool is there: what cannot be had is an error, and what can be had again works again.
fn limits() {
    limit(libc::RLIMIT_NOFILE, 64);
    assert_eq!(add(1, 2), 3);
    limit(libc::RLIMIT_NOFILE, 1024);
    let many = ProcessPool::new(40);
    many.start().expect("there are descriptors enough now");
    assert_eq!(add::on(&many).map((0..100).map(|x| (x, x))).len(), 100);
    drop(many);
    for _ in 0..10 {
        limit(libc::RLIMIT_NOFILE, 20);
        let pool = ProcessPool::new(20);
        match pool.start() {
            Err(PoolError::Spawn(error)) => assert!(crate::is_for_want_of_descriptors(&error), "{error}"),
            other => panic!("{other:?}"),
        }
        // At once: other starts under the old limit are just failing.
        limit(libc::RLIMIT_NOFILE, 1024);
        pool.start().expect("and others can be started again");
        assert_eq!(add::on(&pool).call((1, 2)), 3);
        limit(libc::RLIMIT_NOFILE, 20);
        assert_eq!(add(1, 2), 3, "the workers that there are go on");
    }
}

/// Ctrl-C: the whole group gets SIGINT, the program survives it, and no task is lost; a program that a task starts ends.
fn interrupt() {
    #[parallel(mode = "process", pool = 2)]
    fn start_program() -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        std::process::Command::new("sleep").arg("3600").status().expect("it can be started").signal()
    }
    extern "C" fn nothing(_: i32) {}
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    for signal in signals {
        // SAFETY: a handler that does nothing.
        unsafe { libc::signal(signal, nothing as *const () as usize) };
    }
    // SAFETY: setpgid has no preconditions: this process becomes a group of its own.
    check(unsafe { libc::setpgid(0, 0) });
    let tasks: Vec<_> = (0..2).map(|_| nap::submit(300)).collect();
    let program = start_program::spawn();
    let worker = program.pid().expect("it has a process");
    while !tasks[0].is_running() || of_group("sleep", worker) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for signal in signals {
        // SAFETY: kill has no preconditions; 0 is this process's own group.
        check(unsafe { libc::kill(0, signal) });
    }
    for task in tasks {
        assert_eq!(task.join().expect("workers let the program decide"), 300);
    }
    assert_eq!(of_group("sleep", worker), 1, "and so does what they have started");
    program.kill();
    assert!(matches!(program.join(), Err(TaskError::Cancelled)));
    // Which ends with its worker.
    while of_group("sleep", worker) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// No thread can be started any more: a task that is awaited is ready all the same, and a callback is called.
fn without_threads() {
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    drop_privileges();
    assert_eq!(add(1, 2), 3);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: asks, and sets, a limit of this process.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit));
        check(libc::setrlimit(libc::RLIMIT_NPROC, &libc::rlimit { rlim_cur: 1, ..limit }));
    }
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "the test would show nothing");
    let (tell, told) = std::sync::mpsc::channel();
    add::submit(3, 4).on_done(move || tell.send(()).expect("it is waited for"));
    told.recv_timeout(Duration::from_secs(20)).expect("it is called");
    let mut task = std::pin::pin!(add::submit(2, 3));
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(result) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            assert_eq!(result.expect("it runs"), 5);
            return;
        }
        std::thread::park();
    }
}

/// Signals that the program ignores or has blocked are in a worker as a new process has them.
fn signals() {
    #[parallel(mode = "process", pool = 1)]
    fn states() -> [bool; 3] {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: these only ask, and write to variables of ours.
        unsafe {
            check(libc::sigaction(libc::SIGUSR1, std::ptr::null(), action.as_mut_ptr()));
            check(libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()));
            let blocked = libc::sigismember(mask.as_ptr(), libc::SIGUSR2) == 1;
            let status = std::process::Command::new("true").status();
            [action.assume_init().sa_sigaction == libc::SIG_IGN, blocked, status.is_err()]
        }
    }
    // SAFETY: nothing here depends on these signals.
    unsafe {
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        libc::sigaddset(mask.as_mut_ptr(), libc::SIGUSR2);
        check(libc::pthread_sigmask(libc::SIG_BLOCK, mask.as_ptr(), std::ptr::null_mut()));
    }
    assert_eq!(states(), [false; 3]);
}

/// A pipe without close-on-exec, as C libraries make them: its reader sees the end although a worker lives.
fn descriptor() {
    let mut ends = [0; 2];
    // SAFETY: writes two numbers.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) });
    assert_eq!(add(1, 2), 3);
    // SAFETY: the descriptor is ours.
    check(unsafe { libc::close(ends[1]) });
    let mut byte = 0_u8;
    // SAFETY: reads into a byte of ours.
    assert_eq!(unsafe { libc::read(ends[0], (&raw mut byte).cast(), 1) }, 0, "that is the end");
    assert_eq!(add(1, 2), 3);
}

/// How many processes of a group run a program of this name.
fn of_group(name: &str, group: u32) -> usize {
    let group = group.to_string();
    let stats = std::fs::read_dir("/proc").expect("procfs is mounted").flatten();
    stats
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let (head, rest) = stat.rsplit_once(')').unwrap_or_default();
            let mut fields = rest.split_whitespace();
            let is_dead = matches!(fields.next(), Some("Z" | "X"));
            head.ends_with(&format!("({name}")) && !is_dead && fields.nth(1) == Some(&group)
        })
        .count()
}

/// A kernel without Landlock, as a filter makes it look: the pool says so, and runs nothing.
fn old_kernel() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    #[parallel(mode = "process")]
    fn confined_here() {}
    static CONFINED: ProcessPool = ProcessPool::new(1).sandbox(parallel_runtime::Sandbox::strict());
    let rules = [(libc::SYS_landlock_create_ruleset, vec![])].into_iter().collect();
    let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().expect("a known one");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture).expect("it is valid");
    seccompiler::apply_filter(&BpfProgram::try_from(filter).expect("it is valid")).expect("there is seccomp");
    match confined_here::on(&CONFINED).submit(()).join() {
        Err(TaskError::Spawn(error)) => assert!(error.to_string().contains("Landlock"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(add(1, 2), 3, "other pools work");
}
