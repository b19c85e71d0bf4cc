//! Kills at random moments: of workers under load, and of whole programs.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, TaskError, parallel};

use crate::hostile::Random;

static POOL: ProcessPool = ProcessPool::new(2).retries(1000);

/// Its workers are like those that load an interpreter, or a model: long in coming, and full of threads.
static HEAVY: ProcessPool = ProcessPool::new(2).retries(1000).init(load);

fn load() {
    for _ in 0..16 {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    }
    std::thread::sleep(Duration::from_secs(1));
}

#[parallel(mode = "process")]
fn twice(x: u64) -> u64 {
    2 * x
}

#[parallel(mode = "process")]
fn double(numbers: &mut [u64]) -> u64 {
    numbers.iter_mut().for_each(|number| *number *= 2);
    numbers.len() as u64
}

#[parallel(mode = "process")]
fn reversed(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().rev().collect()
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
}

/// Kills so many workers of a pool at random, each half a millisecond and up to `pause` microseconds after the one before; then sets `stop`.
pub(crate) fn kill_workers(pool: &ProcessPool, kills: u64, pause: u64, killed: &AtomicU64, stop: &AtomicBool) {
    let mut random = Random(42);
    let mut hit = HashSet::new();
    while killed.load(Ordering::Relaxed) < kills {
        let pids = pool.worker_pids();
        if let Some(&pid) = pids.get(random.below(pids.len().max(1) as u64) as usize)
            && hit.insert(pid)
        {
            // SAFETY: kill has no preconditions; the process is a worker of ours that has not been waited for.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
            killed.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_micros(500 + random.below(pause)));
    }
    stop.store(true, Ordering::Relaxed);
}

/// So many SIGKILLs, one every few milliseconds, under tasks of all sizes with `retries`: no task is lost, and each result is right.
pub(crate) fn run(kills: u64) {
    storm(&POOL, kills, 6000);
}

/// The same with workers that take a second to start, on a machine all of whose cores are busy: kills hit them at their start and later.
pub(crate) fn run_heavy(kills: u64) {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    for _ in 0..cores {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    storm(&HEAVY, kills, 1_500_000);
}

fn storm(pool: &'static ProcessPool, kills: u64, pause: u64) {
    pool.start().expect("workers start");
    let (stop, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut tasks, mut memory) = (0_u64, Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| kill_workers(pool, kills, pause, &killed, &stop));
        let mut round = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let small: Vec<_> = (0..2000).map(|x| twice::on(pool).submit(x + round)).collect();
            let large: Vec<_> = (0..4).map(|x| reversed::on(pool).submit(vec![x; 300_000])).collect();
            let mut numbers: Vec<u64> = (0..200_000).collect();
            assert_eq!(double::on(pool).map(numbers.chunks_mut(10_000)), [10_000; 20]);
            assert!(numbers.iter().enumerate().all(|(index, number)| *number == 2 * index as u64), "doubled once each");
            let mapped = twice::on(pool).map(0..20_000);
            assert!(mapped.iter().enumerate().all(|(index, value)| *value == 2 * index as u64));
            for (x, task) in small.into_iter().enumerate() {
                assert_eq!(task.join().expect("it was tried again"), 2 * (x as u64 + round));
            }
            for (x, task) in large.into_iter().enumerate() {
                assert_eq!(task.join().expect("it was tried again"), vec![x as u8; 300_000]);
            }
            assert_eq!(twice::on(pool).call(round), 2 * round);
            tasks += 2000 + 4 + 20 + 20_000 + 1;
            memory.push(resident());
        }
    });
    let (early, late) = (memory[memory.len() / 4], memory[memory.len() - 1]);
    let grown = late.saturating_sub(early) >> 20;
    println!(
        "{} kills in {:.1?}, {tasks} tasks, none lost, none wrong; memory grew by {grown} MiB; {}",
        killed.load(Ordering::Relaxed),
        begun.elapsed(),
        pool.stats()
    );
    assert!(grown < 64, "memory grows: {early} to {late} bytes");
    // At rest, the pool is whole.
    assert_eq!(twice::on(pool).map(0..1000).len(), 1000);
    pool.shutdown();
}

/// How long from the death of the only worker to the next result: the median of so many deaths.
pub(crate) fn recovery(deaths: usize) {
    #[parallel(mode = "process", pool = 1)]
    fn die(now: bool) -> u32 {
        if now {
            // SAFETY: kill has no preconditions.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        std::process::id()
    }
    die(false);
    let mut times: Vec<Duration> = (0..deaths)
        .map(|_| {
            let begun = Instant::now();
            assert!(matches!(die::submit(true).join(), Err(TaskError::WorkerDied { .. })));
            die(false);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("median {:.2?}, 99 in 100 below {:.2?}", times[deaths / 2], times[deaths * 99 / 100]);
    assert!(deaths < 50 || times[deaths / 2] < Duration::from_millis(200), "far from milliseconds");
}

/// What marks the processes of one victim, in their environment.
const MARK: &str = "PARALLEL_TEST_VICTIM";

/// Kills so many programs at random moments of their lives: none of their processes and none of their segments is left.
pub(crate) fn kill_programs(count: u64) {
    let mut random = Random(7);
    let before = segments();
    for round in 0..count {
        let mark = format!("{}-{round}", std::process::id());
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("parallel-test-victim")
            .arg("victim")
            .env(MARK, &mark)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if round % 2 == 1 {
            command.env("PARALLEL_ARENA", "shm");
        }
        let mut victim = command.spawn().expect("it can be started");
        if round % 4 > 1 {
            // Some are killed once they are at work, the others while they start.
            let mut line = String::new();
            let _ = BufReader::new(victim.stdout.take().expect("a pipe")).read_line(&mut line);
        }
        std::thread::sleep(Duration::from_micros(random.below(12_000)));
        victim.kill().expect("it is our child");
        victim.wait().expect("it is our child");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = marked(&mark);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "processes {left:?} outlive the program");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // What was killed between making a name and removing it is swept by the next one.
    let mut sweeper = Command::new("/proc/self/exe");
    sweeper.arg("where").env("PARALLEL_ARENA", "shm").stdout(Stdio::null());
    assert!(sweeper.status().expect("it can be started").success());
    let left: Vec<_> = segments().into_iter().filter(|name| !before.contains(name)).collect();
    assert!(left.is_empty(), "segments {left:?} are left");
    println!("{count} programs killed, 0 processes and 0 segments left");
}

/// A program with work of every kind, until it is killed.
pub(crate) fn victim() {
    #[parallel(mode = "process", pool = 2)]
    fn spin(milliseconds: u64) -> u64 {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        milliseconds
    }
    loop {
        let tasks: Vec<_> = [1, 3, 10_000].into_iter().map(spin::submit).collect();
        let spawned = spin::spawn(10_000);
        twice::map(0..1000);
        println!("at work");
        std::io::stdout().flush().expect("stdout is open");
        std::mem::forget((tasks, spawned));
    }
}

fn segments() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Processes with this mark that are no zombies.
fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    let processes = std::fs::read_dir("/proc").expect("procfs is mounted").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|part| part == wanted.as_bytes()))
        })
        .collect()
}
