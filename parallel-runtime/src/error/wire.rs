//! Errors of tasks as copies, and as values that serde knows.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::remote::RemoteError;
use super::task::TaskError;

/// A copy of what cannot be cloned.
fn copy_of(error: &io::Error) -> io::Error {
    RemoteError::new(error).into()
}

impl Clone for TaskError {
    fn clone(&self) -> Self {
        match self {
            Self::Panicked { function, message, location, backtrace } => Self::Panicked {
                function,
                message: message.clone(),
                location: location.clone(),
                backtrace: backtrace.clone(),
            },
            Self::WorkerDied { function, pid, signal, exit_code, reason, stderr, tries, saved } => Self::WorkerDied {
                function,
                pid: *pid,
                signal: *signal,
                exit_code: *exit_code,
                reason: reason.clone(),
                stderr: stderr.clone(),
                tries: *tries,
                saved: saved.clone(),
            },
            Self::TimedOut { function, after, saved } => {
                Self::TimedOut { function, after: *after, saved: saved.clone() }
            }
            Self::Cancelled => Self::Cancelled,
            Self::Encode { function, what, reason } => Self::Encode { function, what, reason: reason.clone() },
            Self::Decode { function, what, reason } => Self::Decode { function, what, reason: reason.clone() },
            Self::OutOfSharedMemory { requested, available } => {
                Self::OutOfSharedMemory { requested: *requested, available: *available }
            }
            Self::Named { name, source } => Self::Named { name: name.clone(), source: copy_of(source) },
            Self::Spawn(error) => Self::Spawn(copy_of(error)),
            Self::NoState { function, expected, found } => {
                Self::NoState { function, expected: expected.clone(), found: found.clone() }
            }
            Self::Cluster { address, reason } => Self::Cluster { address: address.clone(), reason: reason.clone() },
            Self::ResultTaken => Self::ResultTaken,
            Self::PoolClosed => Self::PoolClosed,
        }
    }
}

/// An error as serde has it: what it is, the function, texts, numbers, and an error of the system.
type Parts = (String, String, Vec<Option<String>>, Vec<Option<u64>>, Option<RemoteError>);

fn parts(error: &TaskError) -> Parts {
    let some = |text: &String| Some(text.clone());
    let name = |name: &str| name.to_owned();
    let path = |saved: &Option<PathBuf>| saved.as_ref().map(|path| path.to_string_lossy().into_owned());
    match error {
        TaskError::Panicked { function, message, location, backtrace } => {
            (name("Panicked"), name(function), vec![some(message), location.clone(), backtrace.clone()], vec![], None)
        }
        TaskError::WorkerDied { function, pid, signal, exit_code, reason, stderr, tries, saved } => {
            let code = |code: &Option<i32>| code.map(|code| u64::from(code.cast_unsigned()));
            let numbers = vec![Some(u64::from(*pid)), code(signal), code(exit_code), Some(u64::from(*tries))];
            (name("WorkerDied"), name(function), vec![some(reason), stderr.clone(), path(saved)], numbers, None)
        }
        TaskError::TimedOut { function, after, saved } => {
            let numbers = vec![Some(after.as_secs()), Some(u64::from(after.subsec_nanos()))];
            (name("TimedOut"), name(function), vec![path(saved)], numbers, None)
        }
        TaskError::Cancelled => (name("Cancelled"), String::new(), vec![], vec![], None),
        TaskError::Encode { function, what, reason } => {
            (name("Encode"), name(function), vec![Some(name(what)), some(reason)], vec![], None)
        }
        TaskError::Decode { function, what, reason } => {
            (name("Decode"), name(function), vec![Some(name(what)), some(reason)], vec![], None)
        }
        TaskError::OutOfSharedMemory { requested, available } => {
            (name("OutOfSharedMemory"), String::new(), vec![], vec![Some(*requested), Some(*available)], None)
        }
        TaskError::Named { name: segment, source } => {
            (name("Named"), String::new(), vec![some(segment)], vec![], Some(RemoteError::new(source)))
        }
        TaskError::Spawn(error) => (name("Spawn"), String::new(), vec![], vec![], Some(RemoteError::new(error))),
        TaskError::NoState { function, expected, found } => {
            (name("NoState"), name(function), vec![some(expected), found.clone()], vec![], None)
        }
        TaskError::Cluster { address, reason } => {
            (name("Cluster"), String::new(), vec![some(address), some(reason)], vec![], None)
        }
        TaskError::ResultTaken => (name("ResultTaken"), String::new(), vec![], vec![], None),
        TaskError::PoolClosed => (name("PoolClosed"), String::new(), vec![], vec![], None),
    }
}

/// The error of these parts; `None` if they are those of none.
fn of_parts((kind, function, texts, numbers, error): Parts) -> Option<TaskError> {
    let text = |index: usize| texts.get(index).cloned().flatten();
    let number = |index: usize| numbers.get(index).copied().flatten();
    let code = |index| Some(number(index)).map(|code| code.map(|code| (code as u32).cast_signed()));
    let function = intern(&function);
    let what = if text(0).as_deref() == Some("arguments") { "arguments" } else { "result" };
    Some(match kind.as_str() {
        "Panicked" => TaskError::Panicked { function, message: text(0)?, location: text(1), backtrace: text(2) },
        "WorkerDied" => TaskError::WorkerDied {
            function,
            pid: u32::try_from(number(0)?).ok()?,
            signal: code(1)?,
            exit_code: code(2)?,
            reason: text(0)?,
            stderr: text(1),
            tries: number(3).and_then(|tries| u32::try_from(tries).ok()).unwrap_or(1),
            saved: text(2).map(PathBuf::from),
        },
        "TimedOut" => TaskError::TimedOut {
            function,
            saved: text(0).map(PathBuf::from),
            after: Duration::new(number(0)?, u32::try_from(number(1)?).ok().filter(|n| *n < 1_000_000_000)?),
        },
        "Cancelled" => TaskError::Cancelled,
        "Encode" => TaskError::Encode { function, what, reason: text(1)? },
        "Decode" => TaskError::Decode { function, what, reason: text(1)? },
        "OutOfSharedMemory" => TaskError::OutOfSharedMemory { requested: number(0)?, available: number(1)? },
        "Named" => TaskError::Named { name: text(0)?, source: error?.into() },
        "Spawn" => TaskError::Spawn(error?.into()),
        "NoState" => TaskError::NoState { function, expected: text(0)?, found: text(1) },
        "Cluster" => TaskError::Cluster { address: text(0)?, reason: text(1)? },
        "ResultTaken" => TaskError::ResultTaken,
        "PoolClosed" => TaskError::PoolClosed,
        _ => return None,
    })
}

/// Names of functions that were read, at most: they are never freed.
const MOST_NAMES: usize = 4096;

const LONGEST_NAME: usize = 1000;

/// The path of a function as one that lives as long as the process: a name is kept once.
fn intern(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    if names.len() >= MOST_NAMES || name.len() > LONGEST_NAME {
        return "";
    }
    let name: &'static str = Box::leak(name.into());
    names.insert(name);
    name
}

impl Serialize for TaskError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parts(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TaskError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        of_parts(Parts::deserialize(deserializer)?).ok_or_else(|| de::Error::custom("this is no error of a task"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_its_copy_and_what_it_was_written_as() {
        let function = "a::b";
        let errors = [
            TaskError::Panicked { function, message: "no".to_owned(), location: Some("x".to_owned()), backtrace: None },
            TaskError::WorkerDied {
                function,
                pid: 7,
                signal: Some(11),
                exit_code: Some(-1),
                reason: "why".to_owned(),
                stderr: None,
                tries: 3,
                saved: Some(PathBuf::from("/a/b")),
            },
            TaskError::TimedOut { function, after: Duration::from_millis(1500), saved: None },
            TaskError::Cancelled,
            TaskError::Encode { function, what: "arguments", reason: "why".to_owned() },
            TaskError::Decode { function, what: "result", reason: "why".to_owned() },
            TaskError::OutOfSharedMemory { requested: 5, available: 3 },
            TaskError::Named { name: "a".to_owned(), source: io::Error::from_raw_os_error(2) },
            TaskError::Spawn(io::Error::new(io::ErrorKind::Unsupported, "no")),
            TaskError::NoState { function, expected: "A".to_owned(), found: None },
            TaskError::Cluster { address: "a".to_owned(), reason: "b".to_owned() },
            TaskError::ResultTaken,
            TaskError::PoolClosed,
        ];
        for error in errors {
            assert_eq!(error.clone().to_string(), error.to_string());
            let again = of_parts(parts(&error)).unwrap();
            assert_eq!(again.to_string(), error.to_string());
            assert_eq!((again.function(), again.help()), (error.function(), error.help()));
        }
    }
}
