//! Errors of tasks, on their way from another machine.

use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::TaskError;

/// What an error is; what belongs to it follows.
const CANCELLED: u8 = 0;
const DIED: u8 = 1;
const TIMED_OUT: u8 = 2;
const NO_MEMORY: u8 = 3;
const SPAWN: u8 = 4;
const CLOSED: u8 = 5;
const PANICKED: u8 = 6;
const NO_STATE: u8 = 7;

/// Writes an error. Those that no engine makes for a task become their text.
pub(crate) fn put(error: &TaskError, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    let mut kind = |kind: u8| writer.put([kind]);
    match error {
        TaskError::Cancelled => kind(CANCELLED),
        TaskError::PoolClosed => kind(CLOSED),
        TaskError::WorkerDied { pid, signal, exit_code, reason, stderr, tries, .. } => {
            kind(DIED);
            codec::encode(&(pid, signal, exit_code, reason, stderr, tries), writer)?;
        }
        TaskError::TimedOut { after, .. } => {
            kind(TIMED_OUT);
            codec::encode(&(after.as_nanos() as u64), writer)?;
        }
        TaskError::OutOfSharedMemory { requested, available } => {
            kind(NO_MEMORY);
            codec::encode(&(requested, available), writer)?;
        }
        TaskError::Panicked { message, location, backtrace, .. } => {
            kind(PANICKED);
            codec::encode(&(message, location, backtrace), writer)?;
        }
        TaskError::NoState { expected, found, .. } => {
            kind(NO_STATE);
            codec::encode(&(expected, found), writer)?;
        }
        TaskError::Spawn(error) => {
            kind(SPAWN);
            codec::encode(&error.to_string(), writer)?;
        }
        other => {
            kind(SPAWN);
            codec::encode(&other.to_string(), writer)?;
        }
    }
    Ok(())
}

/// An error as bytes.
pub(crate) fn encode(error: &TaskError) -> Vec<u8> {
    let mut measure = Writer::new(&mut []);
    put(error, &mut measure).expect("numbers and texts can be encoded");
    let len = measure.len();
    let mut bytes = Vec::with_capacity(len);
    let mut writer = Writer::new(bytes.spare_capacity_mut());
    put(error, &mut writer).expect("numbers and texts can be encoded");
    drop(writer);
    // SAFETY: the writer has written the first `len` bytes of the spare capacity: the same value takes the same room.
    unsafe { bytes.set_len(len) };
    bytes
}

/// The error that was written.
pub(crate) fn take(reader: &mut Reader<'_>) -> Result<TaskError, CodecError> {
    let function = "";
    Ok(match reader.take_u8()? {
        CANCELLED => TaskError::Cancelled,
        DIED => {
            let (pid, signal, exit_code, reason, stderr, tries) = codec::decode(reader)?;
            TaskError::WorkerDied { function, pid, signal, exit_code, reason, stderr, tries, saved: None }
        }
        TIMED_OUT => TaskError::timed_out(std::time::Duration::from_nanos(codec::decode(reader)?)),
        NO_MEMORY => {
            let (requested, available) = codec::decode(reader)?;
            TaskError::OutOfSharedMemory { requested, available }
        }
        CLOSED => TaskError::PoolClosed,
        PANICKED => {
            let (message, location, backtrace) = codec::decode(reader)?;
            TaskError::Panicked { function, message, location, backtrace }
        }
        NO_STATE => {
            let (expected, found) = codec::decode(reader)?;
            TaskError::NoState { function, expected, found }
        }
        SPAWN => TaskError::Spawn(std::io::Error::other(codec::decode::<String>(reader)?)),
        other => return Err(CodecError::new(format_args!("{other} is no error of a task"))),
    })
}

/// The same from bytes.
pub(crate) fn decode(bytes: &[u8]) -> TaskError {
    // SAFETY: the bytes are a slice that lives as long as the reader, and only copies are made from it.
    let mut reader = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) }.untrusted();
    take(&mut reader).unwrap_or_else(|error| TaskError::Decode {
        function: "",
        what: "result",
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn errors_arrive_as_they_were() {
        let died = TaskError::WorkerDied {
            function: "",
            pid: 7,
            signal: Some(11),
            exit_code: None,
            reason: "why".to_owned(),
            stderr: Some("last".to_owned()),
            tries: 2,
            saved: None,
        };
        let errors = [
            TaskError::Cancelled,
            died,
            TaskError::timed_out(Duration::from_millis(3)),
            TaskError::OutOfSharedMemory { requested: 1, available: 2 },
            TaskError::PoolClosed,
            TaskError::Spawn(std::io::Error::other("no")),
            TaskError::NoState { function: "", expected: "A".to_owned(), found: Some("B".to_owned()) },
        ];
        for error in errors {
            assert_eq!(format!("{:?}", decode(&encode(&error))), format!("{error:?}"));
        }
        assert!(matches!(decode(&[99]), TaskError::Decode { .. }));
    }
}
