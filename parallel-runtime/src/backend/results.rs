//! What the items of a map became.

use std::collections::VecDeque;

use crate::error::TaskError;
use crate::function::erased::{ErasedValues, ErasedVec, TypeTable};

/// The outputs of items, in order, and the errors of those that have none.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) values: ErasedVec<'a>,
    /// Each with its position among the items.
    failures: VecDeque<(usize, TaskError)>,
}

impl<'a> Results<'a> {
    pub(crate) fn new(output: &'static TypeTable) -> Self {
        Self::of(ErasedVec::new(output))
    }

    /// Those of items that all have outputs.
    pub(crate) fn of(values: ErasedVec<'a>) -> Self {
        Self { values, failures: VecDeque::new() }
    }

    /// The same error for so many items.
    pub(crate) fn all_failed(output: &'static TypeTable, error: TaskError, items: usize) -> Self {
        let mut results = Self::new(output);
        results.fail_all(error, items);
        results
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.failures.len()
    }

    /// How many outputs and errors there are.
    pub(crate) fn lens(&self) -> (usize, usize) {
        (self.values.len(), self.failures.len())
    }

    /// Forgets those that came after so many.
    pub(crate) fn truncate(&mut self, values: usize, failures: usize) {
        drop(self.values.split_off(values));
        self.failures.truncate(failures);
    }

    /// The next item has no output.
    pub(crate) fn fail(&mut self, error: TaskError) {
        self.failures.push_back((self.len(), error));
    }

    /// The next items have none. If the error cannot be had twice, the others are cancelled.
    pub(crate) fn fail_all(&mut self, error: TaskError, items: usize) {
        let errors = repeated(error).take(items);
        errors.for_each(|error| self.fail(error));
    }

    /// Items at these positions have failed, beside those whose outputs are there, in order.
    pub(crate) fn set_failures(&mut self, failures: Vec<(usize, TaskError)>) {
        self.failures = failures.into();
    }

    /// The first error.
    pub(crate) fn take_first_failure(&mut self) -> Option<TaskError> {
        self.failures.pop_front().map(|(_, error)| error)
    }

    /// To be taken one after the other.
    pub(crate) fn into_each(self) -> EachResult<'a> {
        EachResult { values: self.values.into_values(), failures: self.failures, position: 0 }
    }
}

/// Results, one after the other.
#[derive(Debug)]
pub(crate) struct EachResult<'a> {
    values: ErasedValues<'a>,
    failures: VecDeque<(usize, TaskError)>,
    position: usize,
}

impl<'a> EachResult<'a> {
    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.failures.len()
    }

    /// Whether the next one is an error.
    pub(crate) fn next_has_failed(&self) -> bool {
        self.failures.front().is_some_and(|(position, _)| *position == self.position)
    }

    /// The next result.
    ///
    /// # Safety
    ///
    /// `R` is the type of the outputs.
    pub(crate) unsafe fn next<R: 'a>(&mut self) -> Option<Result<R, TaskError>> {
        let failed = self.next_has_failed();
        self.position += 1;
        if failed {
            return self.failures.pop_front().map(|(_, error)| Err(error));
        }
        // SAFETY: as the caller promises.
        unsafe { self.values.next() }.map(Ok)
    }
}

/// One error for every item: if it cannot be had twice, the others are cancelled.
fn repeated(error: TaskError) -> impl Iterator<Item = TaskError> {
    let text = match &error {
        TaskError::Spawn(error) => Some(error.to_string()),
        _ => None,
    };
    let others = std::iter::repeat_with(move || match &text {
        Some(text) => TaskError::Spawn(std::io::Error::other(text.clone())),
        None => TaskError::Cancelled,
    });
    std::iter::once(error).chain(others)
}
