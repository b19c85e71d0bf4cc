//! Spans of calls, and the events that tasks emit, wherever they run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use parallel_runtime::{ProcessPool, TaskError, ThreadPool, parallel};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber, debug, error, info, info_span, trace, warn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

type Fields = BTreeMap<String, String>;

#[derive(Default)]
struct Values(Fields);

impl Visit for Values {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), format!("text {value}"));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), format!("unsigned {value}"));
    }
}

/// What was seen: events with the names of the spans around them, and spans that have ended.
#[derive(Default)]
struct Seen {
    events: Vec<(Level, String, Vec<String>, Fields)>,
    spans: Vec<(String, Fields)>,
}

struct Keep(Arc<Mutex<Seen>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keep {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut values = Values::default();
        attributes.record(&mut values);
        context.span(id).unwrap().extensions_mut().insert(values);
    }
    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        record.record(span.extensions_mut().get_mut::<Values>().unwrap());
    }
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let around = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let around = around.map(|span| span.name().to_owned()).collect();
        let metadata = event.metadata();
        self.0.lock().unwrap().events.push((*metadata.level(), metadata.target().to_owned(), around, values.0));
    }
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions().get::<Values>().map(|values| values.0.clone()).unwrap_or_default();
        self.0.lock().unwrap().spans.push((span.name().to_owned(), fields));
    }
}

/// Runs something with a subscriber that keeps what it sees, of this level.
fn seen(level: Level, run: impl FnOnce()) -> Seen {
    let seen = Arc::<Mutex<Seen>>::default();
    let filter = tracing::level_filters::LevelFilter::from_level(level);
    let subscriber = Registry::default().with(Keep(Arc::clone(&seen)).with_filter(filter));
    tracing::subscriber::with_default(subscriber, run);
    std::mem::take(&mut *seen.lock().unwrap())
}

#[parallel(mode = "process")]
fn work(x: u64) -> u64 {
    let span = info_span!("inner", x, later = tracing::field::Empty);
    span.record("later", "now");
    let _entered = span.enter();
    info!(x, half = x as f64 / 2.0, small = -1, odd = x % 2 == 1, text = "a\nb", "working on {x}");
    debug!(target: "elsewhere", "details");
    trace!("everything");
    x + 1
}

#[parallel(mode = "process")]
fn fail(how: u64) {
    warn!("about to fail");
    match how {
        0 => panic!("on purpose"),
        _ => std::process::abort(),
    }
}

#[parallel(mode = "process")]
async fn later(x: u64) -> u64 {
    info!(x, "before");
    smol::Timer::after(std::time::Duration::from_millis(5)).await;
    info!(x, "after");
    x
}

fn of<'s>(seen: &'s Seen, message: &str) -> Vec<&'s (Level, String, Vec<String>, Fields)> {
    seen.events.iter().filter(|(.., fields)| fields["message"] == message).collect()
}

fn calls<'s>(seen: &'s Seen, function: &str) -> Vec<&'s Fields> {
    let function = format!("text it::logs::{function}");
    let calls = seen.spans.iter().filter(|(name, fields)| name == "call" && fields["function"] == function);
    calls.map(|(_, fields)| fields).collect()
}

#[test]
fn what_a_task_in_a_worker_emits_is_there_before_its_result() {
    let pool = ProcessPool::new(1);
    let all = seen(Level::DEBUG, || {
        let _outside = info_span!("outside").entered();
        assert_eq!(work::on(&pool).call(6), 7);
    });
    let [(level, target, around, fields)] = &of(&all, "working on 6")[..] else { panic!("one event is there") };
    assert_eq!((*level, target.as_str()), (Level::INFO, "it::logs"));
    assert_eq!(around, &["outside", "call", "inner"]);
    let expected = [("half", "3.0"), ("odd", "false"), ("small", "-1"), ("text", "text a\nb"), ("x", "unsigned 6")];
    assert!(expected.iter().all(|(name, value)| fields[*name] == *value), "{fields:?}");
    assert_eq!(of(&all, "details")[0].1, "elsewhere");
    assert!(of(&all, "everything").is_empty(), "the level is that of the subscriber");
    // The same, from a pool that has run before.
    let again = seen(Level::TRACE, || assert_eq!(work::on(&pool).submit(8).join().unwrap(), 9));
    assert_eq!((of(&again, "working on 8").len(), of(&again, "everything").len()), (1, 1));
    let nothing = seen(Level::ERROR, || assert_eq!(work::on(&pool).call(1), 2));
    assert!(nothing.events.is_empty() && nothing.spans.is_empty());
}

#[test]
fn a_call_has_a_span_with_its_times() {
    let pool = ProcessPool::new(1);
    let all = seen(Level::INFO, || {
        assert_eq!(work::on(&pool).call(1), 2);
    });
    let [call] = &calls(&all, "work")[..] else { panic!("one call has ended") };
    let number = |name: &str| call[name].strip_prefix("unsigned ").unwrap().parse::<u64>().unwrap();
    pool.start().unwrap();
    assert_eq!((number("worker"), number("items")), (pool.worker_pids()[0].into(), 1));
    assert!(number("queued_us") < 60_000_000 && number("ran_us") < 60_000_000);
    assert_eq!(call["end"], "text done");
    assert!(call["pool"].ends_with("1 processes"));
    let inner: Vec<_> = all.spans.iter().filter(|(name, _)| name == "inner").collect();
    assert!(inner.iter().all(|(_, fields)| fields["later"] == "text now"), "{inner:?}");
}

#[test]
fn the_events_of_a_task_that_dies_are_not_lost() {
    let pool = ProcessPool::new(1);
    for (how, end) in [(0, "text failed"), (1, "text its worker died")] {
        let (sender, ended) = std::sync::mpsc::channel();
        let all = seen(Level::INFO, || {
            let task = fail::on(&pool).submit(how);
            task.on_done(move || sender.send(()).unwrap());
            assert!(matches!(task.join(), Err(TaskError::Panicked { .. } | TaskError::WorkerDied { .. })));
            // By this the span has ended, too.
            ended.recv().unwrap();
        });
        let [(level, _, around, _)] = &of(&all, "about to fail")[..] else { panic!("{how}: one event is there") };
        assert_eq!((*level, &around[..]), (Level::WARN, &["call".to_owned()][..]));
        assert_eq!(calls(&all, "fail")[0]["end"], end);
    }
}

#[test]
fn events_of_many_bodies_go_to_their_own_calls() {
    let pool = ProcessPool::new(1);
    let all = seen(Level::INFO, || {
        let tasks: Vec<_> = (0..20).map(|x| later::on(&pool).submit(x)).collect();
        assert!(tasks.into_iter().enumerate().all(|(x, task)| task.join().unwrap() == x as u64));
    });
    assert_eq!((of(&all, "before").len(), of(&all, "after").len()), (20, 20));
    assert!(all.events.iter().all(|(_, _, around, _)| around == &["call"]));
}

#[test]
fn tasks_on_threads_are_inside_their_spans() {
    #[parallel]
    fn on_thread(x: u64) -> u64 {
        error!(x, "on a thread");
        x
    }
    // Of a thread's own subscriber the threads of a pool know nothing: so the span brings it along only for what is on this thread.
    let pool = ThreadPool::new(1);
    let all = seen(Level::INFO, || assert_eq!(on_thread::on(&pool).call(1), 1));
    assert_eq!(of(&all, "on a thread")[0].2, ["call"]);
    let [call] = &calls(&all, "on_thread")[..] else { panic!("one call has ended") };
    assert_eq!((call["end"].as_str(), call.get("worker")), ("text done", None));
    let map = seen(Level::INFO, || assert_eq!(on_thread::on(&pool).map(0..10).len(), 10));
    assert_eq!(calls(&map, "on_thread")[0]["items"], "unsigned 10");
}
