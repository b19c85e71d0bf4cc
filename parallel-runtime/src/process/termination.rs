//! The limit of a task, and why a worker is ended for one.

use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::sys::clock;

/// How long a worker may take to end after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// How long a worker may make a `state` in the middle of a task with a time limit.
pub(super) const MAKING: Duration = Duration::from_secs(300);

/// The limit of a task on the board.
pub(super) struct Limited {
    pub(super) limit: Duration,
    /// When it was published, in nanoseconds of the monotonic clock.
    pub(super) published: u64,
    /// Which of its items was first seen to run when.
    pub(super) seen: Option<(u32, u64)>,
    /// Until when its worker may make a `state` for it, from when that was first seen.
    pub(super) makes_until: Option<u64>,
}

/// Why a worker is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    TimedOut(Duration),
    Killed,
}

/// A worker that is being ended for a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Termination {
    pub(super) slot: u32,
    pub(super) generation: u64,
    /// Which item of the message.
    pub(super) item: u32,
    pub(super) reason: Reason,
    /// When SIGTERM becomes SIGKILL; `None` once that is sent.
    pub(super) deadline: Option<Instant>,
}

impl Termination {
    pub(super) fn is_for_time(&self) -> bool {
        matches!(self.reason, Reason::TimedOut(_))
    }

    /// The error of the task.
    pub(super) fn error(&self) -> TaskError {
        match self.reason {
            Reason::TimedOut(after) => TaskError::timed_out(after),
            Reason::Killed => TaskError::Cancelled,
        }
    }
}

impl Limited {
    pub(super) fn new(limit: Duration) -> Box<Self> {
        Box::new(Self { limit, published: clock::now(), seen: None, makes_until: None })
    }

    /// Its worker makes a `state` for it, as it says. Whether that is believed: its time then begins when that is over.
    pub(super) fn is_put_off(&mut self, now: u64) -> bool {
        let until = *self.makes_until.get_or_insert(now.saturating_add(nanoseconds(MAKING)));
        if now >= until {
            return false;
        }
        self.published = now;
        self.seen = None;
        true
    }

    /// When the item that runs is over its limit. `began` is what the worker says.
    pub(super) fn deadline(&mut self, item: u32, began: u64, now: u64) -> u64 {
        let seen = match self.seen {
            // An item that was seen before does not begin again, whatever the worker says.
            Some((last, when)) if item <= last => when,
            _ => {
                self.seen = Some((item, now));
                now
            }
        };
        let start = if began == 0 { seen } else { began.clamp(self.published, seen.max(self.published)) };
        start.saturating_add(nanoseconds(self.limit))
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_from_the_start_whatever_the_worker_says() {
        let limited = || Limited { limit: Duration::from_nanos(100), published: 1000, seen: None, makes_until: None };
        assert_eq!(limited().deadline(0, 1200, 1250), 1300, "as the worker says");
        assert_eq!(limited().deadline(0, 0, 1250), 1350, "from when it was first seen");
        assert_eq!(limited().deadline(0, 7, 1250), 1100, "not before it was published");
        assert_eq!(limited().deadline(0, 9_999_999, 1250), 1350, "not in the future");
        let mut one = limited();
        one.deadline(0, 0, 1250);
        assert_eq!(one.deadline(0, 9_999_999, 1300), 1350, "it is not seen for the first time again");
        assert_eq!(one.deadline(1, 9_999_999, 1310), 1410, "the next item has its own time");
        assert_eq!(one.deadline(0, 9_999_999, 1390), 1410, "and an earlier one does not begin again");
    }

    #[test]
    fn a_state_may_be_made_before_the_time_begins_but_not_for_as_long_as_the_worker_likes() {
        let mut one = Limited::new(Duration::from_nanos(100));
        one.published = 1000;
        assert_eq!(one.deadline(0, 0, 1050), 1150);
        assert!(one.is_put_off(1090));
        assert_eq!(one.deadline(0, 0, 2000), 2100, "from when it was seen to be over");
        assert!(one.is_put_off(2050) && !one.is_put_off(1090 + nanoseconds(MAKING)));
    }
}
