//! Tasks that are tried again.

use std::time::Duration;

use parallel_runtime::{ProcessPool, TaskError, parallel};

/// Counts a try, in a file that outlives the worker.
fn count(path: &str) -> usize {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(b"x").unwrap();
    std::fs::metadata(path).unwrap().len() as usize
}

fn tries(path: &std::path::Path) -> usize {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len() as usize)
}

#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
enum Trouble {
    Dies,
    Hangs,
    Panics,
    Errs,
}

/// Has trouble in its first so many tries.
#[parallel(mode = "process", pool = 2, retries = 2, timeout = "60s")]
fn work(path: String, trouble: Trouble, times: usize) -> Result<usize, String> {
    let now = count(&path);
    if now > times {
        return Ok(now);
    }
    match trouble {
        Trouble::Dies => std::process::abort(),
        Trouble::Hangs => loop {
            std::hint::spin_loop();
        },
        Trouble::Panics => panic!("in try {now}"),
        Trouble::Errs => Err(format!("in try {now}")),
    }
}

#[test]
fn a_death_or_a_timeout_is_tried_again_by_every_verb() {
    let directory = parallel_workspace::scratch("retries");
    for trouble in [Trouble::Dies, Trouble::Hangs] {
        let path = |name: &str| directory.join(format!("{name}-{trouble:?}"));
        let item = |name: &str, times| (path(name).to_string_lossy().into_owned(), trouble, times);
        let on =
            || work::options().timeout(Duration::from_millis(if trouble == Trouble::Hangs { 500 } else { 60_000 }));
        assert_eq!(on().call(item("call", 2)), Ok(3));
        assert_eq!(on().submit(item("submit", 2)).join().unwrap(), Ok(3));
        assert_eq!(on().map([item("map", 0), item("map-2", 1)]), [Ok(1), Ok(2)]);
        assert_eq!(on().map_async([item("async", 1)]).join().unwrap(), [Ok(2)]);
        assert_eq!(on().spawn(item("spawn", 2)).join().unwrap(), Ok(3));
        let results = on().chunk(4).try_map((0..8).map(|index| item(&format!("many-{index}"), index % 4)));
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(result) => assert_eq!(result, Ok(index % 4 + 1)),
                Err(TaskError::WorkerDied { .. } | TaskError::TimedOut { .. }) => assert_eq!(index % 4, 3),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(tries(&path(&format!("many-{index}"))), (index % 4 + 1).min(3), "{index}");
        }
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn after_the_last_try_there_is_the_error() {
    let directory = parallel_workspace::scratch("last-try");
    let path = directory.join("n");
    let text = path.to_string_lossy().into_owned();
    assert!(matches!(work::submit(text, Trouble::Dies, 9).join(), Err(TaskError::WorkerDied { .. })));
    assert_eq!(tries(&path), 3);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_panic_and_an_err_are_never_tried_again() {
    let directory = parallel_workspace::scratch("never-again");
    for trouble in [Trouble::Panics, Trouble::Errs] {
        let path = directory.join(format!("{trouble:?}"));
        let text = || path.to_string_lossy().into_owned();
        match work::submit(text(), trouble, 1).join() {
            Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "in try 1"),
            Ok(Err(message)) => assert_eq!(message, "in try 1"),
            other => panic!("{other:?}"),
        }
        assert_eq!(tries(&path), 1);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Doubles in place, and dies half-way in its first try.
#[parallel(mode = "process", pool = 2, retries = 1)]
fn double(path: String, numbers: &mut [u64], text: &mut String) -> usize {
    let half = numbers.len() / 2;
    numbers[..half].iter_mut().for_each(|number| *number *= 2);
    text.push('!');
    if count(&path) == 1 {
        std::process::abort();
    }
    numbers[half..].iter_mut().for_each(|number| *number *= 2);
    numbers.len()
}

#[test]
fn each_try_gets_the_arguments_as_they_were() {
    let directory = parallel_workspace::scratch("as-they-were");
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let right = |numbers: &[u64]| numbers.iter().enumerate().all(|(index, number)| *number == 2 * index as u64);

    let (mut numbers, mut text) = ((0..1000).collect::<Vec<u64>>(), "a".to_owned());
    assert_eq!(double(path("call"), &mut numbers, &mut text), 1000);
    assert!(right(&numbers) && text == "a!", "{text}");

    let (mut numbers, mut texts) = ((0..1000).collect::<Vec<u64>>(), vec![String::new(); 10]);
    let items = numbers.chunks_mut(100).zip(&mut texts).enumerate();
    assert_eq!(double::map(items.map(|(index, (chunk, text))| (path(&format!("{index}")), chunk, text))), [100; 10]);
    assert!(right(&numbers) && texts.iter().all(|text| text == "!"));

    // The arguments of a submitted task are kept where no worker can write.
    #[parallel(mode = "process", pool = 2, retries = 1)]
    fn sum_of_doubles(path: String, numbers: &mut [u64]) -> u64 {
        numbers.iter_mut().for_each(|number| *number *= 2);
        if count(&path) == 1 {
            std::process::abort();
        }
        numbers.iter().sum()
    }
    assert_eq!(sum_of_doubles::submit(path("submit"), (0..1000).collect::<Vec<u64>>()).join().unwrap(), 999_000);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn tries_are_counted_and_a_task_between_two_can_be_cancelled() {
    static POOL: ProcessPool = ProcessPool::new(1).retries(3);
    #[parallel(mode = "process", pool = POOL)]
    fn die() {
        std::process::abort();
    }
    assert!(die::submit().join().is_err());
    let stats = POOL.stats();
    assert_eq!((stats.retried, stats.worker_deaths, stats.submitted, stats.finished), (3, 4, 1, 1), "{stats}");
    let endless = die::options().retries(u32::MAX).submit(());
    assert!(parallel_workspace::eventually(|| POOL.stats().retried > 5));
    assert!(endless.kill());
    assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
}

#[test]
fn a_death_says_after_how_many_tries_it_was_the_last() {
    let directory = parallel_workspace::scratch("counted");
    let item = |name: &str| (directory.join(name).to_string_lossy().into_owned(), Trouble::Dies, 9);
    let works = |name: &str| (directory.join(name).to_string_lossy().into_owned(), Trouble::Dies, 0);
    let told = |error: TaskError, expected: u32| match &error {
        TaskError::WorkerDied { tries, .. } => {
            assert_eq!(*tries, expected);
            assert_eq!(
                error.to_string().contains(&format!("at the last of {expected} tries")),
                expected > 1,
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    };
    let on = work::options;
    told(on().submit(item("submit")).join().unwrap_err(), 3);
    told(on().spawn(item("spawn")).join().unwrap_err(), 3);
    told(on().retries(0).submit(item("once")).join().unwrap_err(), 1);
    for mut results in
        [on().chunk(3).try_map([works("a"), item("b"), works("c")]), on().try_map([works("d"), item("e")])]
    {
        told(results.remove(1).unwrap_err(), 3);
    }
    let call = std::panic::catch_unwind(|| work::options().call(item("call"))).unwrap_err();
    let text = call.downcast_ref::<String>().expect("it is the error's text");
    assert!(text.contains("at the last of 3 tries"), "{text}");
}
