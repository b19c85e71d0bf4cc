//! There are no workers.

pub(crate) fn end_with_program() {}

pub(crate) fn end_group_with_program() {}

pub(crate) fn go_on_when_program_ends() {}
