//! Workers that may do nothing but compute.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use parallel_runtime::{
    PoolError, ProcessPool, Sandbox, SharedDict, SharedSlice, SharedValue, SharedVec, TaskError, ThreadPool, parallel,
    shared,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Attempt {
    ReadFile,
    WriteFile,
    MakeFile,
    ListDirectory,
    ReadProgramMemory,
    Listen,
    Send,
    UnixSocket,
    Exec,
    Fork,
    KillProgram,
    ChangeMode,
    Trace,
    MakeRing,
    OwnDescriptor,
    TypeIntoTerminal,
    Thread,
    Print,
    OwnAbort,
}

/// Tries it. The error's number, or 0.
#[parallel(mode = "process", pool = 1, sandbox = "strict")]
fn attempt(what: Attempt, program: u32) -> i32 {
    let code = |error: std::io::Error| error.raw_os_error().unwrap_or(-1);
    // SAFETY: `number` is the result of a system call that has just been made.
    let called = |result: i64| if result < 0 { code(std::io::Error::last_os_error()) } else { 0 };
    match what {
        Attempt::ReadFile => File::open("/etc/passwd").map_or_else(code, |_| 0),
        Attempt::WriteFile => File::options().write(true).open("/dev/full").map_or_else(code, |_| 0),
        Attempt::MakeFile => File::create(std::env::temp_dir().join("parallel-escaped")).map_or_else(code, |_| 0),
        Attempt::ListDirectory => std::fs::read_dir("/").map_or_else(code, |_| 0),
        Attempt::ReadProgramMemory => File::open(format!("/proc/{program}/mem")).map_or_else(code, |_| 0),
        Attempt::Listen => TcpListener::bind("127.0.0.1:0").map_or_else(code, |_| 0),
        Attempt::Send => UdpSocket::bind("127.0.0.1:0").map_or_else(code, |_| 0),
        Attempt::UnixSocket => std::os::unix::net::UnixDatagram::unbound().map_or_else(code, |_| 0),
        Attempt::Exec => Command::new("/bin/true").status().map_or_else(code, |_| 0),
        // SAFETY: should it work, the child ends at once.
        Attempt::Fork => match unsafe { libc::fork() } {
            // SAFETY: `_exit` has no preconditions.
            0 => unsafe { libc::_exit(0) },
            result => called(result.into()),
        },
        // SAFETY: kill has no preconditions; signal 0 does nothing.
        Attempt::KillProgram => called(unsafe { libc::kill(program.cast_signed(), 0) }.into()),
        // SAFETY: the path ends in a zero.
        Attempt::ChangeMode => called(unsafe { libc::chmod(c"/tmp".as_ptr(), 0o1777) }.into()),
        // SAFETY: attaching to the program would stop it; it must not work.
        Attempt::Trace => called(unsafe { libc::ptrace(libc::PTRACE_SEIZE, program, 0, 0) }),
        // SAFETY: the second argument may be null: then the call fails with EFAULT if it is let through.
        Attempt::MakeRing => called(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) }),
        Attempt::OwnDescriptor => {
            let (mut pipe, owner) = ([0; 2], program);
            // SAFETY: `pipe` has room for two descriptors.
            assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
            // SAFETY: FIOSETOWN reads a process id: that process would get signals.
            called(unsafe { libc::ioctl(pipe[0], 0x8901, &raw const owner) }.into())
        }
        // SAFETY: TIOCSTI reads a character.
        Attempt::TypeIntoTerminal => called(unsafe { libc::ioctl(1, libc::TIOCSTI, c"x".as_ptr()) }.into()),
        Attempt::Thread => std::thread::spawn(|| i32::from(File::open("/etc/passwd").is_ok())).join().unwrap(),
        Attempt::Print => std::io::stderr().write_all(b"").map_or_else(code, |()| 0),
        Attempt::OwnAbort => std::process::abort(),
    }
}

#[test]
fn a_strict_worker_can_compute_and_nothing_else() {
    use Attempt::*;
    let program = std::process::id();
    let refused = [
        ReadFile,
        WriteFile,
        MakeFile,
        ListDirectory,
        ReadProgramMemory,
        Listen,
        Send,
        UnixSocket,
        Exec,
        Fork,
        KillProgram,
        ChangeMode,
        Trace,
        MakeRing,
        OwnDescriptor,
        TypeIntoTerminal,
    ];
    for what in refused {
        let code = attempt(what, program);
        assert!(code == libc::EPERM || code == libc::EACCES, "{what:?}: {code}");
    }
    for what in [Thread, Print] {
        assert_eq!(attempt(what, program), 0, "{what:?}");
    }
    let death = attempt::submit(OwnAbort, program).join();
    let Err(TaskError::WorkerDied { signal: Some(signal), .. }) = death else { panic!("{death:?}") };
    // The abort of musl asks for a call that cannot be bound to its own process, and then crashes.
    assert!(signal == libc::SIGABRT || cfg!(not(target_env = "gnu")), "{signal}");
    assert!(!std::env::temp_dir().join("parallel-escaped").exists());
}

#[test]
fn a_strict_worker_can_be_ended_replaced_and_granted_memory() {
    #[parallel(mode = "process", pool = 2, sandbox = "strict", timeout = "1s", max_tasks_per_worker = 50)]
    fn work(x: u64) -> u64 {
        if x == 77 {
            loop {
                std::hint::spin_loop();
            }
        }
        vec![x; 1000].iter().sum()
    }
    let results = work::try_map(0..200);
    for (x, result) in results.iter().enumerate() {
        match result {
            Ok(sum) => assert_eq!(*sum, 1000 * x as u64),
            Err(TaskError::TimedOut { .. }) => assert_eq!(x, 77),
            Err(other) => panic!("{other}"),
        }
    }
    // Results that need memory from the program still get it.
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn large(count: usize) -> Vec<u8> {
        vec![1; count]
    }
    assert_eq!(large(3 << 20).len(), 3 << 20);
}

#[test]
fn all_threads_are_confined_before_the_first_task() {
    fn read_threads_later() {
        OPENED_STATUS.set(File::open("/proc/self/task").expect("it is there")).expect("once");
    }
    static OPENED_STATUS: OnceLock<File> = OnceLock::new();
    static POOL: ProcessPool = ProcessPool::new(1)
        .init(read_threads_later)
        .max_tasks_per_worker(1)
        .sandbox(Sandbox::strict().read(&["/proc"]));
    #[parallel(mode = "process", pool = POOL)]
    fn free_threads() -> usize {
        let threads = std::fs::read_dir("/proc/self/task").expect("it is listed").flatten();
        let status = threads.map(|thread| std::fs::read_to_string(thread.path().join("status")).unwrap_or_default());
        status.filter(|status| !status.contains("Seccomp:\t2")).count()
    }
    for _ in 0..20 {
        assert_eq!(free_threads(), 0);
    }
}

static OPENED: OnceLock<File> = OnceLock::new();

fn open_passwd() {
    OPENED.set(File::open("/etc/passwd").expect("it can be opened before the sandbox is on")).expect("once");
}

#[parallel(mode = "process", pool = 1, sandbox = "strict", init = open_passwd)]
fn read_what_init_opened() -> usize {
    let mut text = String::new();
    OPENED.get().expect("`init` has run").read_to_string(&mut text).expect("it is open");
    assert!(File::open("/etc/passwd").is_err(), "but not again");
    text.len()
}

#[test]
fn what_init_has_opened_stays_open() {
    assert!(read_what_init_opened() > 0);
}

static LISTED: ProcessPool =
    ProcessPool::new(1).sandbox(Sandbox::strict().read(&["/usr/share", "/etc/passwd"]).write(&["/dev/shm"]));

#[parallel(mode = "process", pool = LISTED)]
fn listed(name: String) -> Vec<bool> {
    let file = format!("/dev/shm/{name}");
    let may = vec![
        std::fs::read_dir("/usr/share").is_ok(),
        File::open("/etc/passwd").is_ok(),
        std::fs::write(&file, "x").is_ok(),
        std::fs::read(&file).is_ok(),
        std::fs::remove_file(&file).is_ok(),
        File::open("/etc/group").is_ok(),
        File::options().write(true).open("/etc/passwd").is_ok(),
        std::fs::write("/usr/share/parallel-escaped", "x").is_ok(),
    ];
    may
}

#[test]
fn listed_paths_stay_open_for_what_they_are_listed_for() {
    let name = format!("parallel-sandbox-test-{}", std::process::id());
    assert_eq!(listed(name), [true, true, true, true, true, false, false, false]);
}

#[test]
fn a_path_that_is_missing_is_named_when_the_pool_starts() {
    let pool = ProcessPool::new(1).sandbox(Sandbox::strict().read(&["/no/such/path"]));
    match pool.start() {
        Err(error @ PoolError::Spawn(_)) => assert!(error.to_string().contains("/no/such/path"), "{error}"),
        other => panic!("{other:?}"),
    }
}

fn start_a_thread() {
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(3600)));
}

#[test]
fn threads_of_init_that_would_stay_outside_are_an_error() {
    let pool = ProcessPool::new(1).init(start_a_thread).sandbox(Sandbox::strict());
    match pool.start() {
        Err(error @ PoolError::Spawn(_)) => assert!(error.to_string().contains("1 threads"), "{error}"),
        other => panic!("{other:?}"),
    }
}

fn refused<R: std::fmt::Debug>(result: Result<R, TaskError>) -> bool {
    matches!(result, Err(TaskError::Spawn(error)) if error.to_string().contains("asks for a sandbox"))
}

#[test]
fn a_sandbox_is_never_lost_on_the_way() {
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn confined() -> bool {
        File::open("/etc/passwd").is_err()
    }
    #[parallel(mode = "process", pool = 1)]
    fn from_a_plain_worker() -> (bool, bool) {
        (refused(confined::submit().join()), confined::try_map([()]).into_iter().all(refused))
    }
    #[parallel(mode = "process", pool = 2, sandbox = "strict")]
    fn from_a_confined_worker() -> bool {
        confined()
    }
    assert!(confined());
    assert_eq!(from_a_plain_worker(), (true, true));
    assert!(from_a_confined_worker());
    assert!(refused(confined::on(&ProcessPool::new(1)).submit(()).join()));
    assert!(refused(confined::on(&ThreadPool::new(1)).submit(()).join()));
    assert!(refused(confined::on(&ThreadPool::new(1)).spawn(()).join()));
    assert!(std::panic::catch_unwind(|| confined::on(&ThreadPool::new(1)).call(())).is_err());
    assert!(refused(confined::on(&ThreadPool::new(1)).map_async([()]).join()));
    assert!(confined::on(&ProcessPool::new(1).sandbox(Sandbox::strict())).call(()));
    assert!(confined::spawn().join().unwrap());
    // And a function that asks for none is confined on a pool that has one, by every verb.
    #[parallel(mode = "process", pool = 1)]
    fn can_read() -> bool {
        File::open("/etc/passwd").is_ok()
    }
    let pool = ProcessPool::new(1).sandbox(Sandbox::strict());
    assert!(!can_read::on(&pool).call(()) && !can_read::on(&pool).spawn(()).join().unwrap());
}

/// What a process maps of shared memory, by inodes.
fn arenas(pid: u32) -> BTreeSet<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("procfs is mounted");
    let lines = maps.lines().filter(|line| line.contains("memfd:parallel"));
    lines.map(|line| line.split_whitespace().nth(4).expect("an inode").to_owned()).collect()
}

#[test]
fn a_pool_with_a_sandbox_shares_memory_with_no_other_pool() {
    static CONFINED: ProcessPool = ProcessPool::new(1).sandbox(Sandbox::strict());
    static ANOTHER: ProcessPool = ProcessPool::new(1).sandbox(Sandbox::strict());
    static FREE: ProcessPool = ProcessPool::new(1);

    #[parallel(mode = "process")]
    fn pid() -> u32 {
        std::process::id()
    }

    let [one, other, free] = [&CONFINED, &ANOTHER, &FREE].map(|pool| arenas(pid::on(pool).call(())));
    let program = arenas(std::process::id());
    let common = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.intersection(other).count();
    assert_eq!((common(&one, &other), common(&one, &free), common(&other, &free)), (0, 0, 0));
    assert_eq!((common(&one, &program), common(&other, &program), common(&free, &program)), (1, 1, 1));
    // The second is for shared objects of its own.
    assert_eq!((one.len(), other.len(), free.len()), (2, 2, 1));
}

#[test]
fn a_strict_worker_cannot_make_the_arena_of_its_pool_longer() {
    /// Files in memory that can be made longer, of all descriptors; and what became of the byte behind the arena's end.
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn longer_files(bytes: &[u8]) -> (usize, i32) {
        let can_grow = |descriptor| {
            // SAFETY: only asks.
            let seals = unsafe { libc::fcntl(descriptor, libc::F_GET_SEALS) };
            seals >= 0 && seals & libc::F_SEAL_GROW == 0
        };
        let mut there = 0_u8;
        // Far behind the message, in the mapping, which is much longer than the file.
        let behind = bytes.as_ptr().wrapping_add(8 << 30);
        // SAFETY: the kernel reads the byte, and says so where it cannot; the pipe is this task's.
        let error = unsafe {
            let mut ends = [0; 2];
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), 0), 0);
            let written = libc::write(ends[1], behind.cast(), 1);
            if written == 1 {
                libc::read(ends[0], (&raw mut there).cast(), 1);
                0
            } else {
                *libc::__errno_location()
            }
        };
        ((0..1024).filter(|descriptor| can_grow(*descriptor)).count(), error)
    }

    assert_eq!(longer_files(&vec![1; 1 << 20]), (0, libc::EFAULT));
}

#[test]
fn slices_that_are_lent_to_a_sandbox_are_copied_in_and_out() {
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn double(numbers: &mut [f64], by: &[f64]) -> bool {
        numbers.iter_mut().zip(by).for_each(|(number, by)| *number *= by);
        // What the program has borrowed is not the memory that is changed.
        numbers.iter().all(|number| *number > 0.0)
    }

    let mut numbers = SharedVec::from_fn(100_000, |index| index as f64 + 1.0);
    let by = SharedSlice::from_slice(&[2.0; 1000]);
    let done = double::map(numbers.chunks_mut(1000).map(|chunk| (chunk, &by[..])));
    assert_eq!((done.len(), done.contains(&false)), (100, false));
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == 2.0 * (index as f64 + 1.0)));
}

#[test]
fn buffers_cross_into_a_sandbox_and_out_of_it_as_what_they_hold() {
    #[derive(Serialize, Deserialize)]
    struct Picture {
        pixels: SharedVec<u8>,
        name: String,
    }

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn invert(mut picture: Picture, table: SharedSlice<u8>, extra: SharedVec<u32>) -> (Picture, SharedVec<u32>) {
        picture.pixels.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        let sums = SharedVec::from_fn(extra.len() + 1, |index| extra[..index].iter().sum());
        (picture, sums)
    }

    let pixels = SharedVec::from_fn(100_000, |index| index as u8);
    let table = SharedVec::from_fn(256, |index| 255 - index as u8).share();
    for _ in 0..3 {
        let picture = Picture { pixels: SharedVec::from_slice(&pixels), name: "a".to_owned() };
        let (picture, sums) = invert(picture, table.clone(), SharedVec::from_slice(&[1, 2, 3]));
        assert!(picture.pixels.iter().enumerate().all(|(index, pixel)| *pixel == 255 - index as u8));
        assert_eq!((&*picture.name, &*sums), ("a", &[0, 1, 3, 6][..]));
    }
    // The same table in many items crosses once.
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn look_up(table: &[u64], index: usize) -> u64 {
        table[index]
    }
    let squares: Vec<u64> = (0..10_000).map(|x| x * x).collect();
    let found = look_up::map((0..1000).map(|index| (&squares[..], index)));
    assert_eq!(found, squares[..1000]);
}

#[test]
fn handles_do_not_enter_a_sandbox_and_the_error_says_what_to_do() {
    #[shared]
    static COUNT: SharedValue<u64> = SharedValue::new(7);

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn size(names: SharedDict<u32, String>) -> usize {
        names.len()
    }

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn counts() -> u64 {
        COUNT.get()
    }

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn makes() -> SharedDict<u32, String> {
        let made = SharedDict::new();
        made.insert(1, "one".to_owned());
        assert_eq!(made.get(&1).as_deref(), Some("one"), "for itself it may have any");
        made
    }

    let tells = |error: &str| {
        assert!(error.contains("a worker in a sandbox") && error.contains("use a pool without a sandbox"), "{error}");
    };
    match size::submit(SharedDict::new()).join() {
        Err(error @ TaskError::Encode { .. }) => tells(&error.to_string()),
        other => panic!("{other:?}"),
    }
    match counts::submit().join() {
        Err(error @ TaskError::Panicked { .. }) => tells(&error.to_string().replace("a worker in\n", "a worker in ")),
        other => panic!("{other:?}"),
    }
    match makes::submit().join() {
        Err(error @ TaskError::Encode { .. }) => tells(&error.to_string()),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert_eq!(COUNT.get(), 7);
}

#[test]
fn a_strict_worker_has_no_capability_no_secret_of_the_environment_and_no_descriptor_of_the_programs_output() {
    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn tries() -> (u64, Vec<String>, [i64; 3]) {
        let header = [0x2008_0522_u32, 0];
        let mut sets = [0_u32; 6];
        // SAFETY: the header and the two sets are laid out as capget(2) says.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) }, 0);
        let names = std::env::vars().map(|(name, _)| name).collect();
        let mut byte = 0_u8;
        // SAFETY: these concern a descriptor, and a byte of ours.
        let calls = unsafe {
            [
                libc::fcntl(1, libc::F_SETFL, libc::fcntl(1, libc::F_GETFL) | libc::O_NONBLOCK).into(),
                libc::ftruncate(1, 0).into(),
                libc::read(1, (&raw mut byte).cast(), 1) as i64,
            ]
        };
        println!("what a strict worker prints");
        (sets.iter().map(|set| u64::from(*set)).sum(), names, calls)
    }

    // SAFETY: only asks.
    let before = unsafe { libc::fcntl(1, libc::F_GETFL) };
    let (capabilities, names, [_, truncated, read]) = tries();
    assert_eq!(capabilities, 0);
    assert!(std::env::var_os("PATH").is_some(), "the test would show nothing");
    assert!(!names.iter().any(|name| name == "PATH" || name.starts_with("CARGO")), "{names:?}");
    assert_eq!((truncated, read), (-1, -1), "it is the end of a pipe that is written");
    // SAFETY: only asks.
    assert_eq!(unsafe { libc::fcntl(1, libc::F_GETFL) }, before, "the program's own output is as it was");

    // What is listed it has.
    static LISTED: ProcessPool = ProcessPool::new(1).sandbox(Sandbox::strict().env(&["PATH"]));
    #[parallel(mode = "process")]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    let of_pool = |name: &str| variable::on(&LISTED).call(name);
    assert_eq!((of_pool("PATH"), of_pool("HOME")), (std::env::var("PATH").ok(), None));
}

struct Lines(Vec<String>);

/// What the state has read before the sandbox closed.
#[parallel(mode = "process", pool = 1, sandbox = "strict", state = read_passwords)]
fn line(#[worker] lines: &mut Lines, number: usize) -> String {
    assert!(number < lines.0.len(), "there is no such line");
    lines.0[number].clone()
}

fn read_passwords() -> Lines {
    let text = std::fs::read_to_string("/etc/passwd").expect("it can be read before the sandbox closes");
    Lines(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_state_that_a_panic_has_spoilt_is_made_anew_by_a_worker_whose_sandbox_is_still_open() {
    let first = line(0);
    for _ in 0..3 {
        assert!(matches!(line::submit(usize::MAX).join(), Err(TaskError::Panicked { .. })));
        assert_eq!(line::submit(0).join().unwrap(), first);
    }
    // In messages of several items and tasks, too: each that panics costs itself.
    let results = line::try_map((0..40).map(|number| if number % 8 == 3 { usize::MAX } else { 0 }));
    let tasks: Vec<_> = (0..40).map(|number| line::submit(if number % 8 == 3 { usize::MAX } else { 0 })).collect();
    for (number, result) in results.into_iter().enumerate().chain(tasks.into_iter().map(|task| task.join()).enumerate())
    {
        match result {
            Err(TaskError::Panicked { .. }) => assert_eq!(number % 8, 3),
            result => assert_eq!(result.unwrap(), first),
        }
    }
}
