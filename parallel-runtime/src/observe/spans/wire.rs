//! How events travel.

use serde::{Deserialize, Serialize};

use crate::observe::line::{self, Kind};

/// The most fields of an event, or of a span.
pub(super) const MOST_FIELDS: usize = 32;

/// Spans around an event that are sent with it, from outside.
pub(super) const MOST_SPANS: usize = 16;

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Value {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Text(String),
    /// As `Debug` or `Display` shows it.
    Shown(String),
}

/// What is known of the place where a span or an event is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Site {
    pub(super) is_span: bool,
    pub(super) name: String,
    pub(super) target: String,
    /// From 1, an error, to 5, a trace.
    pub(super) level: u8,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
    pub(super) module: Option<String>,
    pub(super) fields: Vec<String>,
}

/// A span or an event: the values are those of its site's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) site: Site,
    pub(super) values: Vec<Option<Value>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::observe) struct Event {
    /// `generation | slot` of the task.
    pub(in crate::observe) task: u64,
    /// The spans around it in the worker, each with a number that is its own there.
    pub(super) spans: Vec<(u64, Entry)>,
    pub(super) event: Entry,
}

impl Event {
    /// The whole line.
    pub(super) fn to_line(&self) -> Option<Vec<u8>> {
        line::encode(Kind::Event, self)
    }

    /// Reads a line, without its end.
    pub(in crate::observe) fn from_line(line: &[u8]) -> Option<Self> {
        let event: Self = line::decode(Kind::Event, line)?;
        let is_whole = |entry: &Entry| {
            let fields = entry.site.fields.len();
            fields == entry.values.len() && fields <= MOST_FIELDS && (1..=5).contains(&entry.site.level)
        };
        let whole = event.spans.len() <= MOST_SPANS && event.spans.iter().all(|(_, span)| is_whole(span));
        (whole && is_whole(&event.event)).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(is_span: bool) -> Entry {
        Entry {
            site: Site {
                is_span,
                name: "name".to_owned(),
                target: "a::b".to_owned(),
                level: 3,
                file: Some("x.rs".to_owned()),
                line: Some(10),
                module: None,
                fields: vec!["message".to_owned(), "n".to_owned(), "empty".to_owned()],
            },
            values: vec![Some(Value::Shown("two\nlines \u{10}\u{10}n".to_owned())), Some(Value::Signed(-7)), None],
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let event = Event { task: 0x0a_10_0a, spans: vec![(3, entry(true))], event: entry(false) };
        let line = event.to_line().unwrap();
        assert_eq!(line::place(&line), Some(0));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(Event::from_line(&line[..line.len() - 1]), Some(event));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let event = Event { task: 1, spans: vec![], event: entry(false) };
        let line = event.to_line().unwrap();
        for len in 0..line.len() - 1 {
            assert_eq!(Event::from_line(&line[..len]), None, "the first {len} bytes");
        }
        let wrong = |change: fn(&mut Event)| {
            let mut event = event.clone();
            change(&mut event);
            let line = event.to_line().unwrap();
            Event::from_line(&line[..line.len() - 1])
        };
        assert_eq!(wrong(|event| event.event.site.level = 6), None);
        assert_eq!(wrong(|event| drop(event.event.values.pop())), None);
        assert_eq!(wrong(|event| event.spans = vec![(1, entry(true)); MOST_SPANS + 1]), None);
    }

    #[test]
    fn any_line_is_an_event_or_none() {
        crate::sys::random::with_random_bytes(|random| {
            let mut line: Vec<u8> = if random.arbitrary()? {
                random.arbitrary()?
            } else {
                let event = Event { task: 1, spans: vec![(3, entry(true))], event: entry(random.arbitrary()?) };
                crate::sys::random::damaged(random, event.to_line().unwrap())?
            };
            line.retain(|byte| *byte != b'\n');
            if let Some(event) = Event::from_line(&line) {
                assert_eq!(line::place(&line), Some(0));
                let again = event.to_line().unwrap();
                assert_eq!(Event::from_line(&again[..again.len() - 1]).map(|event| event.task), Some(event.task));
            }
            Ok(())
        });
    }
}
