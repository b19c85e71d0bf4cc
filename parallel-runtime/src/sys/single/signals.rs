//! Signals in words.

pub(crate) fn describe(signal: i32) -> String {
    format!("signal {signal}")
}
