//! Records of the `log` crate that tasks log in workers.

use std::sync::{Mutex, MutexGuard};

use log::{Level, LevelFilter, Log, Metadata, Record, debug, error, info, warn};
use parallel_runtime::{ProcessPool, Sandbox, TaskError, parallel};

/// A record as the program's logger gets it.
#[derive(Debug, Clone, PartialEq)]
struct Logged {
    level: Level,
    target: String,
    module: Option<String>,
    place: (Option<String>, bool),
    text: String,
}

struct Keep;

static LOGGED: Mutex<Vec<Logged>> = Mutex::new(Vec::new());

fn logged() -> MutexGuard<'static, Vec<Logged>> {
    LOGGED.lock().unwrap()
}

impl Log for Keep {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != "not wanted"
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            logged().push(Logged {
                level: record.level(),
                target: record.target().to_owned(),
                module: record.module_path().map(str::to_owned),
                place: (record.file().map(str::to_owned), record.line().is_some()),
                text: record.args().to_string(),
            });
        }
    }

    fn flush(&self) {}
}

/// Sets the program's logger.
fn install() {
    // Each test does.
    let _ = log::set_logger(&Keep);
    log::set_max_level(LevelFilter::Info);
}

/// The texts that begin so.
fn texts(beginning: &str) -> Vec<String> {
    logged().iter().map(|record| record.text.clone()).filter(|text| text.starts_with(beginning)).collect()
}

#[parallel(mode = "process", pool = 2)]
fn work(name: &str, number: u32) -> u32 {
    info!("{name}: working on {number}\nin two lines");
    warn!(target: "elsewhere", "{name}: elsewhere");
    error!(target: "not wanted", "{name}: not wanted");
    debug!("{name}: details");
    number
}

#[test]
fn what_a_task_logs_in_a_worker_is_with_the_programs_logger_before_its_result() {
    install();
    assert_eq!(work("whole", 5), 5);
    let records: Vec<Logged> = logged().iter().filter(|record| record.text.starts_with("whole")).cloned().collect();
    let here = Some("tests/it/records.rs".to_owned());
    let expected = |level, target: &str, text: &str| Logged {
        level,
        target: target.to_owned(),
        module: Some("it::records".to_owned()),
        place: (here.clone(), true),
        text: text.to_owned(),
    };
    let first = expected(Level::Info, "it::records", "whole: working on 5\nin two lines");
    assert_eq!(records, [first, expected(Level::Warn, "elsewhere", "whole: elsewhere")]);
}

#[test]
fn records_of_many_tasks_come_each_once() {
    install();
    let numbers = 0..200_u32;
    work::map(numbers.clone().map(|number| ("many", number)));
    let submitted: Vec<_> = numbers.map(|number| work::submit("many".to_owned(), number)).collect();
    submitted.into_iter().for_each(|task| assert!(task.join().is_ok()));
    let mut texts = texts("many: working");
    texts.sort();
    texts.chunk_by(|one, other| one == other).for_each(|same| assert_eq!(same.len(), 2, "{}", same[0]));
    assert_eq!(texts.len(), 400);
}

#[parallel(mode = "process", pool = 1)]
fn crash() {
    error!("crash: about to");
    std::process::abort();
}

#[test]
fn what_is_logged_before_a_crash_is_not_lost() {
    install();
    assert!(matches!(crash::submit().join(), Err(TaskError::WorkerDied { .. })));
    assert_eq!(texts("crash"), ["crash: about to"]);
}

#[cfg(not(parallel_portable))]
#[test]
fn what_is_logged_in_a_sandbox_comes_out() {
    install();
    let pool = ProcessPool::new(1).sandbox(Sandbox::strict());
    assert_eq!(work::on(&pool).call(("confined", 1)), 1);
    assert_eq!(texts("confined").len(), 2);
}

#[parallel(mode = "process", pool = 1)]
async fn later(number: u32) -> u32 {
    info!("later: {number}");
    number
}

#[test]
fn bodies_of_async_fns_log_too() {
    install();
    assert_eq!(smol::block_on(later(3)), 3);
    assert_eq!(texts("later"), ["later: 3"]);
}

struct Own;

impl Log for Own {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        std::fs::write(std::env::var("LOGGED").unwrap(), record.args().to_string()).unwrap();
    }

    fn flush(&self) {}
}

fn set_own_logger() {
    log::set_logger(&Own).unwrap();
    log::set_max_level(LevelFilter::Info);
}

#[test]
fn a_logger_that_init_has_set_stays() {
    install();
    let path = std::env::temp_dir().join(format!("parallel-records-{}", std::process::id()));
    let path = &*path.to_str().unwrap().to_owned().leak();
    let variables = &*Box::leak(Box::new([("LOGGED", path)]));
    let pool = ProcessPool::new(1).init(set_own_logger).env(variables);
    assert_eq!(work::on(&pool).call(("own", 1)), 1);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "own: not wanted");
    std::fs::remove_file(path).unwrap();
    assert!(texts("own").is_empty());
}

#[parallel(mode = "process", pool = 1)]
fn mutter() {
    eprint!("a line that a record interrupts ... ");
    info!("mutter: in between");
    eprintln!("goes on");
}

#[test]
fn a_record_after_a_line_without_its_end_comes_out() {
    install();
    mutter();
    assert_eq!(texts("mutter"), ["mutter: in between"]);
}
