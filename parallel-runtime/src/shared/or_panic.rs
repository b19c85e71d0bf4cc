//! Constructors that panic when memory is short.

use crate::error::TaskError;

/// Ends a constructor that cannot say why it failed.
#[track_caller]
pub(super) fn or_panic<T>(result: Result<T, TaskError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
