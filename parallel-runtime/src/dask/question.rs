//! A question about requests.

use crate::remote::task_state::TaskRef;

/// A question that was asked about requests.
pub(super) struct Question {
    /// That about the first, for the process that waits for it.
    pub(super) answer: Option<bool>,
    /// Tasks that are cancelled if the answer about them is yes, where no process waits for it.
    pub(super) task_states: Option<Vec<TaskRef>>,
}
