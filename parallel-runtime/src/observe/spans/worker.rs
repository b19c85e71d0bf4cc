//! Worker: takes what tasks emit, and sends it to the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::wire::{self, Entry, MOST_FIELDS, MOST_SPANS, Site, Value};
use crate::ipc::link;
use crate::observe::line::cut;

/// What the program wants, as [`level`](super::level) says it.
static LEVEL: AtomicU32 = AtomicU32::new(0);

/// The subscriber of a worker.
struct Sender {
    spans: Mutex<HashMap<u64, Span>>,
    next: AtomicU64,
}

struct Span {
    entry: Entry,
    parent: Option<u64>,
    references: usize,
    metadata: &'static Metadata<'static>,
}

thread_local! {
    /// The spans that this thread is in.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// From here on the events of tasks go to the program, unless `init` has set another subscriber.
pub(crate) fn begin() {
    let _ = tracing::subscriber::set_global_default(Sender { spans: Mutex::default(), next: AtomicU64::new(1) });
}

/// The program wants events up to this level.
#[inline(always)]
pub(crate) fn set_level(level: u32) {
    if LEVEL.load(Ordering::Relaxed) != level {
        LEVEL.store(level, Ordering::Relaxed);
        tracing_core::callsite::rebuild_interest_cache();
    }
}

fn number(level: Level) -> u32 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Takes the values of fields.
struct Values<'e>(&'e mut Entry);

impl Values<'_> {
    fn set(&mut self, field: &Field, value: Value) {
        if let Some(place) = self.0.values.get_mut(field.index()) {
            *place = Some(value);
        }
    }
}

impl Visit for Values<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::Text(cut(value.to_owned())));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::Shown(cut(format!("{value:?}"))));
    }
}

/// What is at a place, without values yet.
fn entry(metadata: &Metadata<'_>) -> Entry {
    let fields: Vec<String> = metadata.fields().iter().take(MOST_FIELDS).map(|field| field.name().to_owned()).collect();
    let values = vec![None; fields.len()];
    let site = Site {
        is_span: metadata.is_span(),
        name: metadata.name().to_owned(),
        target: metadata.target().to_owned(),
        level: number(*metadata.level()) as u8,
        file: metadata.file().map(str::to_owned),
        line: metadata.line(),
        module: metadata.module_path().map(str::to_owned),
        fields,
    };
    Entry { site, values }
}

impl Sender {
    fn spans(&self) -> MutexGuard<'_, HashMap<u64, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current() -> Option<u64> {
        ENTERED.try_with(|entered| entered.borrow().last().copied()).ok().flatten()
    }
}

impl Subscriber for Sender {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        number(*metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let filters = [
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ];
        filters.get(LEVEL.load(Ordering::Relaxed) as usize).copied()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut entry = entry(attributes.metadata());
        attributes.record(&mut Values(&mut entry));
        let parent = if attributes.is_contextual() { Self::current() } else { attributes.parent().map(Id::into_u64) };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut spans = self.spans();
        if let Some(parent) = parent.and_then(|parent| spans.get_mut(&parent)) {
            parent.references += 1;
        }
        spans.insert(number, Span { entry, parent, references: 1, metadata: attributes.metadata() });
        Id::from_u64(number)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some(span) = self.spans().get_mut(&span.into_u64()) {
            values.record(&mut Values(&mut span.entry));
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut entry = entry(event.metadata());
        event.record(&mut Values(&mut entry));
        let mut next = if event.is_contextual() { Self::current() } else { event.parent().map(Id::into_u64) };
        let mut around = Vec::new();
        let spans = self.spans();
        while let Some(number) = next
            && around.len() < MOST_SPANS
        {
            let Some(span) = spans.get(&number) else { break };
            around.push((number, span.entry.clone()));
            next = span.parent;
        }
        drop(spans);
        around.reverse();
        let task = link::task();
        let event = wire::Event { task, spans: around, event: entry };
        if let Some(line) = event.to_line() {
            link::note_event(task);
            let _ = std::io::stderr().lock().write_all(&line);
        }
    }

    fn enter(&self, span: &Id) {
        let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            if let Some(at) = entered.iter().rposition(|number| *number == span.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, span: &Id) -> Id {
        if let Some(span) = self.spans().get_mut(&span.into_u64()) {
            span.references += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut spans = self.spans();
        let (mut next, mut closed) = (Some(span.into_u64()), false);
        while let Some(number) = next {
            let Some(span) = spans.get_mut(&number) else { break };
            span.references -= 1;
            if span.references > 0 {
                break;
            }
            closed = true;
            next = spans.remove(&number).and_then(|span| span.parent);
        }
        closed
    }

    fn current_span(&self) -> tracing_core::span::Current {
        let spans = self.spans();
        match Self::current().and_then(|number| Some((number, spans.get(&number)?))) {
            Some((number, span)) => tracing_core::span::Current::new(Id::from_u64(number), span.metadata),
            None => tracing_core::span::Current::none(),
        }
    }
}
