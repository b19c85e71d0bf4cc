//! Program: emits again what workers have sent.
//!
//! `tracing` wants to know each place that emits something once, and for good. The places of workers are those of this very executable,
//! but a worker may say anything: so a place is made for each that is told of, and at most [`MOST_SITES`] of them.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, FieldSet, display};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Span};
use tracing_core::callsite::{Callsite, Identifier};

use super::wire::{Entry, Event, MOST_FIELDS, Site, Value};

/// So many places are made; events of others are not emitted.
const MOST_SITES: usize = 10_000;

/// A place that a worker has told of.
struct Place {
    metadata: OnceLock<Metadata<'static>>,
}

impl Callsite for Place {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("it is set before the place is registered")
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

/// The metadata of a place. `None` if there are too many.
fn metadata(site: &Site) -> Option<&'static Metadata<'static>> {
    static SITES: Mutex<Option<HashMap<Site, &'static Place>>> = Mutex::new(None);
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let sites = sites.get_or_insert_default();
    if let Some(place) = sites.get(site) {
        return place.metadata.get();
    }
    if sites.len() >= MOST_SITES {
        return None;
    }
    let place: &'static Place = Box::leak(Box::new(Place { metadata: OnceLock::new() }));
    let names: Vec<&'static str> = site.fields.iter().map(|name| leak(name)).collect();
    let level = match site.level {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let metadata = Metadata::new(
        leak(&site.name),
        leak(&site.target),
        level,
        site.file.as_deref().map(leak),
        site.line,
        site.module.as_deref().map(leak),
        FieldSet::new(Box::leak(names.into_boxed_slice()), Identifier(place)),
        if site.is_span { Kind::SPAN } else { Kind::EVENT },
    );
    let metadata = place.metadata.get_or_init(|| metadata);
    tracing_core::callsite::register(place);
    sites.insert(site.clone(), place);
    Some(metadata)
}

/// Gives an entry's place and values to `then`, if it is wanted.
fn with_values<R>(
    entry: &Entry,
    then: impl FnOnce(&'static Metadata<'static>, &tracing::field::ValueSet<'_>) -> R,
) -> Option<R> {
    let metadata = metadata(&entry.site)?;
    if !tracing::dispatcher::get_default(|dispatch| dispatch.enabled(metadata)) {
        return None;
    }
    let values: Vec<Option<Box<dyn tracing::Value + '_>>> = entry
        .values
        .iter()
        .map(|value| {
            value.as_ref().map(|value| match value {
                Value::Signed(number) => Box::new(*number) as Box<dyn tracing::Value>,
                Value::Unsigned(number) => Box::new(*number),
                Value::Float(number) => Box::new(*number),
                Value::Bool(truth) => Box::new(*truth),
                Value::Text(text) => Box::new(text.as_str()),
                Value::Shown(text) => Box::new(display(text)),
            })
        })
        .collect();
    let fields: Vec<Field> = metadata.fields().iter().collect();
    let Some(first) = fields.first() else { return Some(then(metadata, &metadata.fields().value_set(&[]))) };
    // Values that are `None` do not count.
    let mut set: [(&Field, Option<&dyn tracing::Value>); MOST_FIELDS] = [(first, None); MOST_FIELDS];
    for (place, (field, value)) in set.iter_mut().zip(fields.iter().zip(&values)) {
        *place = (field, value.as_deref());
    }
    Some(then(metadata, &metadata.fields().value_set(&set)))
}

/// The spans of tasks that were made again, by task and number.
#[derive(Default)]
pub(in crate::observe) struct Spans(HashMap<(u64, u64), Span>);

/// With more spans than this, of tasks that have not ended, those that there are are ended early.
const MOST_SPANS_OPEN: usize = 10_000;

impl Spans {
    /// Takes those of a task that has ended.
    pub(in crate::observe) fn end_task(&mut self, task: u64) -> Vec<((u64, u64), Span)> {
        self.0.extract_if(|(of, _), _| *of == task).collect()
    }

    pub(in crate::observe) fn emit(&mut self, event: &Event, call: Option<&Span>) {
        if self.0.len() > MOST_SPANS_OPEN {
            self.0.clear();
        }
        let mut parent = call.and_then(Span::id);
        for (number, entry) in &event.spans {
            let span = self.0.entry((event.task, *number)).or_insert_with(|| {
                let parent = parent.clone();
                with_values(entry, |metadata, values| Span::child_of(parent, metadata, values))
                    .unwrap_or_else(Span::none)
            });
            parent = span.id().or(parent);
        }
        with_values(&event.event, |metadata, values| tracing::Event::child_of(parent, metadata, values));
    }
}
