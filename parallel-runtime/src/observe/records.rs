//! Records of the `log` crate: sent by workers, and logged again in the program.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::{Deserialize, Serialize};

use super::line::{self, Kind, cut};
use crate::ipc::link;

/// The most verbose level that the program wants: 0 for none, 5 for all.
#[inline(always)]
pub(super) fn level() -> u32 {
    log::max_level() as u32
}

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SentRecord {
    /// `generation | slot` of the task.
    pub(super) task: u64,
    /// From 1, an error, to 5, a trace.
    level: u8,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    text: String,
}

impl SentRecord {
    /// Reads a line, without its end.
    pub(super) fn from_line(line: &[u8]) -> Option<Self> {
        line::decode(Kind::Record, line)
    }

    /// Program: gives it to the logger.
    pub(super) fn emit(&self) {
        let Some(level) = Level::iter().find(|level| *level as u8 == self.level) else { return };
        let logger = log::logger();
        if level > log::max_level() || !logger.enabled(&Metadata::builder().level(level).target(&self.target).build()) {
            return;
        }
        let mut builder = Record::builder();
        builder.level(level).target(&self.target).line(self.line);
        builder.module_path(self.module.as_deref()).file(self.file.as_deref());
        logger.log(&builder.args(format_args!("{}", self.text)).build());
    }
}

/// The logger of a worker.
struct Sender;

/// Worker: whether the logger is ours; and what the program wants.
static IS_OURS: AtomicBool = AtomicBool::new(false);
static LEVEL: AtomicU32 = AtomicU32::new(0);

/// Worker: from here on records go to the program, unless `init` has set another logger.
pub(super) fn begin() {
    IS_OURS.store(log::set_logger(&Sender).is_ok(), Ordering::Relaxed);
}

/// Worker: the program wants records up to this level.
#[inline(always)]
pub(super) fn set_level(level: u32) {
    if LEVEL.load(Ordering::Relaxed) == level {
        return;
    }
    LEVEL.store(level, Ordering::Relaxed);
    if IS_OURS.load(Ordering::Relaxed) {
        let filter = LevelFilter::iter().find(|filter| *filter as u32 == level);
        log::set_max_level(filter.unwrap_or(LevelFilter::Trace));
    }
}

impl Log for Sender {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let task = link::task();
        let sent = SentRecord {
            task,
            level: record.level() as u8,
            target: record.target().to_owned(),
            module: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            text: cut(record.args().to_string()),
        };
        if let Some(line) = line::encode(Kind::Record, &sent) {
            link::note_event(task);
            let _ = std::io::stderr().lock().write_all(&line);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_and_damaged_ones_are_none() {
        let record = SentRecord {
            task: 0x0a_10_0a,
            level: 3,
            target: "a::b".to_owned(),
            module: None,
            file: Some("x.rs".to_owned()),
            line: Some(7),
            text: "two\nlines \u{10}\u{10}n".to_owned(),
        };
        let line = line::encode(Kind::Record, &record).unwrap();
        assert_eq!(line::place(&line), Some(0));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(SentRecord::from_line(&line[..line.len() - 1]), Some(record));
        for len in 0..line.len() - 1 {
            assert_eq!(SentRecord::from_line(&line[..len]), None, "the first {len} bytes");
        }
    }
}
