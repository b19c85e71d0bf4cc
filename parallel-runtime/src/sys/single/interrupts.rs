//! Signals that end a program from outside: not here.

pub(crate) fn before_end(_last: fn()) {}
