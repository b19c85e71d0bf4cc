//! A question about letters.

use std::sync::Arc;

use crate::remote::task_state::TaskState;

/// A question that was asked about letters.
pub(super) struct Question {
    /// That about the first, for whoever waits for it.
    pub(super) answer: Option<bool>,
    /// Tickets that are cancelled if the answer about them is yes, where nobody waits for it.
    pub(super) tickets: Option<Vec<Arc<TaskState>>>,
}
