//! Sections about results as they come.

use std::hint::black_box;
use std::time::Duration;

use futures_lite::future::block_on;
use parallel_runtime::{as_completed, parallel};

use crate::measure::{Section, Subject, per};
use crate::sharing::{python, timed};
use crate::work::{next, next_on_threads};

const TASKS: u64 = 100_000;

fn each(count: u64, run: impl FnOnce()) -> Duration {
    Duration::from_secs_f64(timed(run).as_secs_f64() / count as f64)
}

/// Tasks as they end.
pub fn completed() -> Section<'static> {
    Section::new("each of 100,000 tasks, 2 workers", 7)
        .subject(Subject::ours("ours, as_completed", || {
            each(TASKS, || assert_eq!(as_completed((0..TASKS).map(next::submit)).count() as u64, TASKS))
        }))
        .subject(Subject::new("ours, map, one item in a message", || {
            each(TASKS, || drop(black_box(next::options().chunk(1).map(0..TASKS))))
        }))
        .subject(Subject::new("ours, as_completed, threads", || {
            each(TASKS, || assert_eq!(as_completed((0..TASKS).map(next_on_threads::submit)).count() as u64, TASKS))
        }))
        .subject(python("streams.py", "as_completed"))
}

/// Many items in little memory.
pub fn imap() -> Section<'static> {
    const ITEMS: u64 = 2_000_000;
    Section::new("each of 2,000,000 items, 2 workers", 5)
        .subject(Subject::ours("ours, imap", || {
            each(ITEMS, || assert_eq!(next::imap(0..ITEMS).filter(Result::is_ok).count() as u64, ITEMS))
        }))
        .subject(Subject::new("ours, map", || each(ITEMS, || drop(black_box(next::map(0..ITEMS))))))
        .subject(Subject::new("ours, imap_unordered", || {
            each(ITEMS, || assert_eq!(next::imap_unordered(0..ITEMS).count() as u64, ITEMS))
        }))
        .subject(python("streams.py", "imap"))
}

/// A call that is awaited.
pub fn awaited() -> Section<'static> {
    let (to, from) = (std::sync::mpsc::channel::<u64>(), std::sync::mpsc::channel::<u64>());
    std::thread::spawn(move || to.1.iter().try_for_each(|x| from.0.send(x)));
    Section::new("`f::submit(x).await`, one after the other", 7)
        .subject(Subject::ours("ours, await", || per(20_000, |x| block_on(next::submit(x)).expect("no worker dies"))))
        .subject(Subject::new("ours, f(x)", || per(100_000, next)))
        .subject(Subject::new("a thread woken and back", move || {
            per(20_000, |x| {
                to.0.send(x).expect("the thread lives");
                from.1.recv().expect("the thread lives")
            })
        }))
}

#[parallel(mode = "process", pool = 2)]
async fn nap(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[parallel(pool = 2)]
async fn nap_on_thread(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Bodies of `async fn`s that wait.
pub fn sleeping() -> Section<'static> {
    const COUNT: usize = 10_000;
    let naps = || std::iter::repeat_n(1000, COUNT);
    let runtime = tokio::runtime::Runtime::new().expect("tokio starts");
    Section::new("10,000 bodies of `async fn`s that sleep for a second, 2 workers", 3)
        .subject(Subject::ours("ours, process", move || timed(|| assert_eq!(nap::map(naps()).len(), COUNT))))
        .subject(Subject::new("ours, threads", move || timed(|| assert_eq!(nap_on_thread::map(naps()).len(), COUNT))))
        .subject(Subject::new("tokio", move || {
            timed(|| {
                runtime.block_on(async {
                    let sleep = |milliseconds| tokio::time::sleep(Duration::from_millis(milliseconds));
                    let tasks: Vec<_> = naps().map(|time| tokio::spawn(sleep(time))).collect();
                    for task in tasks {
                        task.await.expect("it sleeps");
                    }
                });
            })
        }))
        .subject(python("streams.py", "sleep"))
}
