//! A question about requests.

use std::sync::Arc;

use crate::remote::task_state::TaskState;

/// A question that was asked about requests.
pub(super) struct Question {
    /// That about the first, for the process that waits for it.
    pub(super) answer: Option<bool>,
    /// Tasks that are cancelled if the answer about them is yes, where no process waits for it.
    pub(super) task_states: Option<Vec<Arc<TaskState>>>,
}
