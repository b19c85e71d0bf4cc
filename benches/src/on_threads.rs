//! Submitted tasks on threads, beside what one would write instead: a pool, and a channel for each result.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;

use crate::measure::{Section, Subject};
use crate::work::next_on_threads;

const TASKS: u64 = 200_000;
const WORKERS: usize = 2;

/// Time for each of the tasks that `submit` begins and `join` waits for.
fn each<T>(submit: impl Fn(u64) -> T, join: impl Fn(T) -> u64) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<T> = (0..TASKS).map(submit).collect();
    for (x, task) in tasks.into_iter().enumerate() {
        assert_eq!(join(task), x as u64 + 1);
    }
    begun.elapsed() / TASKS as u32
}

/// A task of the channels' pools: a number, and where the next one goes.
type Asked = (u64, oneshot::Sender<u64>);

fn answered(receiver: oneshot::Receiver<u64>) -> u64 {
    receiver.recv().expect("the worker lives")
}

/// Submitted, then joined.
pub fn submitted() -> Section<'static> {
    let (flume, tasks) = flume::unbounded::<Asked>();
    for _ in 0..WORKERS {
        let tasks = tasks.clone();
        std::thread::spawn(move || tasks.into_iter().for_each(|(x, to)| _ = to.send(std::hint::black_box(x) + 1)));
    }
    let (crossbeam, tasks) = crossbeam_channel::unbounded::<Asked>();
    for _ in 0..WORKERS {
        let tasks = tasks.clone();
        std::thread::spawn(move || tasks.into_iter().for_each(|(x, to)| _ = to.send(std::hint::black_box(x) + 1)));
    }
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().expect("threads start");
    let rayon: &'static rayon::ThreadPool = Box::leak(Box::new(rayon));
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    let tokio = tokio.worker_threads(WORKERS).max_blocking_threads(WORKERS).build().expect("tokio starts");
    let tokio: &'static tokio::runtime::Runtime = Box::leak(Box::new(tokio));
    Section::new("each of 200,000 tasks submitted, then joined, 2 threads", 9)
        .subject(Subject::ours("ours", || each(next_on_threads::submit, |task| task.join().expect("no task fails"))))
        .subject(Subject::new("flume, a oneshot each", move || {
            each(
                |x| {
                    let (to, from) = oneshot::channel();
                    flume.send((x, to)).expect("the workers live");
                    from
                },
                answered,
            )
        }))
        .subject(Subject::new("crossbeam, a oneshot each", move || {
            each(
                |x| {
                    let (to, from) = oneshot::channel();
                    crossbeam.send((x, to)).expect("the workers live");
                    from
                },
                answered,
            )
        }))
        .subject(Subject::new("rayon::spawn, a oneshot each", move || {
            each(
                |x| {
                    let (to, from) = oneshot::channel();
                    rayon.spawn(move || _ = to.send(std::hint::black_box(x) + 1));
                    from
                },
                answered,
            )
        }))
        .subject(Subject::new("rayon::scope, one channel", move || {
            let begun = Instant::now();
            let (to, from) = mpsc::channel();
            rayon.scope(|scope| {
                for x in 0..TASKS {
                    let to = to.clone();
                    scope.spawn(move |_| _ = to.send(std::hint::black_box(x) + 1));
                }
            });
            drop(to);
            assert_eq!(from.iter().sum::<u64>(), TASKS * (TASKS + 1) / 2);
            begun.elapsed() / TASKS as u32
        }))
        .subject(Subject::new("tokio::spawn", move || {
            each(
                |x| tokio.spawn(async move { std::hint::black_box(x) + 1 }),
                |task| block_on(task).expect("it does not panic"),
            )
        }))
        .subject(Subject::new("tokio::spawn_blocking", move || {
            each(
                |x| tokio.spawn_blocking(move || std::hint::black_box(x) + 1),
                |task| block_on(task).expect("it does not panic"),
            )
        }))
}
