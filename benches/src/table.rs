//! Ours beside the peers and the limits, all in one run: `cargo bench -p parallel-benches`.
//!
//! Absolute times depend on the machine and on what else it does; so the subjects of a section take turns, round after round,
//! the median of each is shown, and beside it the ratio to ours.

mod growth;
mod measure;
mod on_threads;
mod peers;
mod sharing;
mod streams;
mod values;
mod work;

use std::hint::black_box;
use std::time::{Duration, Instant};

use measure::{Section, Subject, per};
use parallel_runtime::ProcessPool;
use work::{
    increments, increments_in_processes, increments_on_threads, next, next_on_threads, render, render_on_threads,
};

type MakeSection = fn() -> Section<'static>;

fn main() {
    if peers::become_child() {
        return;
    }
    procspawn::init();
    // `cargo bench -p parallel-benches -- map` runs the sections whose names contain `map`.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    // Where the table is written as Markdown, too.
    let markdown = std::env::var_os("PARALLEL_BENCH_MARKDOWN");
    let sections: [(&str, MakeSection); 25] = [
        ("round trip", round_trip),
        ("submit and join", submit_and_join),
        ("submit on threads", on_threads::submitted),
        ("map, tiny items", map_tiny),
        ("map, real items", map_real),
        ("thread call", thread_call),
        ("first result", first_result),
        ("double in place", sharing::in_place),
        ("double by copy", sharing::by_copy),
        ("passing slices", sharing::passing),
        ("shared value", sharing::value),
        ("shared dict", sharing::dict),
        ("shared queue", sharing::queue),
        ("echo", values::echoes),
        ("structs", values::structs),
        ("shared reference", values::shared_reference),
        ("as completed", streams::completed),
        ("imap", streams::imap),
        ("await", streams::awaited),
        ("sleeping bodies", streams::sleeping),
        ("growth: outstanding", growth::outstanding),
        ("growth: payload", growth::payload),
        ("growth: workers", growth::workers),
        ("growth: watched", growth::watched),
        ("growth: cancelled", growth::cancelled),
    ];
    println!("{} CPUs", parallel_runtime::cpu_count());
    let mut table =
        "| what: ours | median | CPU time | others, as multiples of ours |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, section) in sections {
        if name.contains(&wanted) {
            table += &section().run(name);
        }
    }
    if let Some(file) = markdown {
        std::fs::write(file, table).expect("the file can be written");
    }
}

fn round_trip() -> Section<'static> {
    next(0);
    let mut shared = peers::SharedMemory::new();
    let mut pipes = peers::Pipes::new();
    let mut ipc = peers::Ipc::new();
    let iceoryx2 = peers::Iceoryx2::new();
    let procspawn = procspawn::Pool::new(1).expect("procspawn starts");
    Section::new("a call, `u64` → `u64`", 7)
        .subject(Subject::ours("ours, process", || per(100_000, |x| black_box(next(x)))))
        .subject(Subject::new("plain call", || per(10_000_000, |x| black_box(next::inline(black_box(x))))))
        .subject(Subject::new("shared memory, bare", move || per(100_000, |x| shared.call(x))))
        .subject(Subject::new("iceoryx2, polling", move || per(20_000, |x| iceoryx2.call(x))))
        .subject(Subject::new("std pipes", move || per(3_000, |x| pipes.call(x))))
        .subject(Subject::new("ipc-channel", move || per(3_000, |x| ipc.call(x))))
        .subject(Subject::new("procspawn", move || {
            per(1_000, |x| procspawn.spawn(x, |x| x + 1).join().expect("no worker dies"))
        }))
}

fn submit_and_join() -> Section<'static> {
    const TASKS: u64 = 1_000_000;
    next(0);
    let mut ipc = [peers::Ipc::new(), peers::Ipc::new()];
    let procspawn = procspawn::Pool::new(2).expect("procspawn starts");
    Section::new("each of 1,000,000 tasks submitted, then joined, 2 workers", 5)
        .subject(Subject::ours("ours, process", || {
            let begun = Instant::now();
            let tasks: Vec<_> = (0..TASKS).map(next::submit).collect();
            for (x, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.join().expect("no worker dies"), x as u64 + 1);
            }
            begun.elapsed() / TASKS as u32
        }))
        .subject(Subject::new("std pipes", {
            let mut pipes = [peers::Pipes::new(), peers::Pipes::new()];
            move || peers::pipelined(&mut pipes, TASKS / 10)
        }))
        .subject(Subject::new("std pipes, 256 in a write", {
            let mut pipes = [peers::Pipes::new().in_bulk(), peers::Pipes::new().in_bulk()];
            move || peers::pipelined(&mut pipes, TASKS / 10)
        }))
        .subject(Subject::new("ipc-channel", move || peers::pipelined(&mut ipc, TASKS / 10)))
        .subject(Subject::new("procspawn", move || {
            let begun = Instant::now();
            let tasks: Vec<_> = (0..2_000_u64).map(|x| procspawn.spawn(x, |x| x + 1)).collect();
            for task in tasks {
                task.join().expect("no worker dies");
            }
            begun.elapsed() / 2_000
        }))
}

fn map_tiny() -> Section<'static> {
    const ITEMS: u64 = 1_000_000;
    increments_in_processes::map(0..1000);
    increments_on_threads::map(0..1000);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    let whole = |map: &dyn Fn(Vec<u64>) -> Vec<u64>| {
        let items: Vec<u64> = (0..ITEMS).collect();
        let begun = Instant::now();
        let results = map(items);
        let elapsed = begun.elapsed();
        assert_eq!(results.len() as u64, ITEMS);
        elapsed
    };
    Section::new("`map` of 1,000,000 items of 100 increments, 2 workers", 15)
        .subject(Subject::ours("ours, process", move || whole(&|items| increments_in_processes::map(items))))
        .subject(Subject::new("ours, threads", move || whole(&|items| increments_on_threads::map(items))))
        .subject(Subject::new("rayon", move || {
            use rayon::prelude::*;
            whole(&|items| pool.install(|| items.into_par_iter().map(increments).collect()))
        }))
        .subject(Subject::new("serial", move || whole(&|items| items.into_iter().map(increments).collect())))
}

fn map_real() -> Section<'static> {
    let pages: Vec<Vec<u8>> = (0..400_usize).map(|page| vec![page as u8; 4096 + page * 16]).collect();
    let pages: &'static [Vec<u8>] = pages.leak();
    let procspawn = procspawn::Pool::new(2).expect("procspawn starts");
    let timed = |map: &dyn Fn() -> usize| {
        let begun = Instant::now();
        assert_eq!(map(), 400);
        begun.elapsed()
    };
    render::map(pages.iter().map(Vec::as_slice));
    render_on_threads::map(pages.iter().map(Vec::as_slice));
    Section::new("`map` of 400 items of 45 µs (4 to 10 KB in, 1 KB out), 2 workers", 7)
        .subject(Subject::ours("ours, process", move || timed(&|| render::map(pages.iter().map(Vec::as_slice)).len())))
        .subject(Subject::new("ours, threads", move || {
            timed(&|| render_on_threads::map(pages.iter().map(Vec::as_slice)).len())
        }))
        .subject(Subject::new("procspawn", move || {
            timed(&|| {
                let tasks: Vec<_> =
                    pages.iter().map(|page| procspawn.spawn(page.clone(), |page| work::rendered(&page))).collect();
                tasks.into_iter().map(|task| task.join().expect("no worker dies")).collect::<Vec<_>>().len()
            })
        }))
        .subject(Subject::new("serial", move || {
            timed(&|| pages.iter().map(|page| render::inline(page)).collect::<Vec<_>>().len())
        }))
}

fn thread_call() -> Section<'static> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    let pool: &'static rayon::ThreadPool = Box::leak(Box::new(pool));
    let cold = |call: &dyn Fn(u64) -> u64| {
        let mut total = Duration::ZERO;
        for x in 0..50 {
            std::thread::sleep(Duration::from_millis(2));
            let begun = Instant::now();
            black_box(call(x));
            total += begun.elapsed();
        }
        total / 50
    };
    Section::new("f(x) on threads, and after 2 ms without a call", 7)
        .subject(Subject::ours("ours", || per(1_000_000, |x| black_box(next_on_threads(black_box(x))))))
        .subject(Subject::new("rayon", || per(3_000, |x| pool.install(|| black_box(x + 1)))))
        .subject(Subject::new("ours, cold", move || cold(&|x| next_on_threads(x))))
        .subject(Subject::new("rayon, cold", move || cold(&|x| pool.install(|| black_box(x + 1)))))
}

fn first_result() -> Section<'static> {
    fn subjects(section: Section<'static>, label: &'static str, resident: usize) -> Section<'static> {
        let with_memory = move |run: &dyn Fn()| {
            let memory = vec![1_u8; resident];
            black_box(&memory);
            let begun = Instant::now();
            run();
            begun.elapsed()
        };
        let name = |subject: &str| -> &'static str { format!("{subject}{label}").leak() };
        section
            .subject(Subject::ours(name("ours, first result"), move || {
                let pool = ProcessPool::new(4);
                let elapsed = with_memory(&|| assert_eq!(next::on(&pool).call(1), 2));
                drop(pool);
                elapsed
            }))
            .subject(Subject::new(name("ours, all four ready"), move || {
                let pool = ProcessPool::new(4);
                with_memory(&|| {
                    pool.start().expect("workers start");
                    assert_eq!(next::on(&pool).call(1), 2);
                })
            }))
            .subject(Subject::new(name("four bare re-runs"), move || with_memory(&peers::four_bare_re_runs)))
            .subject(Subject::new(name("procspawn, pool of 4"), move || {
                with_memory(&|| {
                    let pool = procspawn::Pool::new(4).expect("procspawn starts");
                    assert_eq!(pool.spawn(1_u64, |x| x + 1).join().expect("no worker dies"), 2);
                })
            }))
    }
    let section = Section::new("a new pool of 4, to its first result", 9);
    subjects(subjects(section, "", 0), ", 1 GiB", 1 << 30)
}
