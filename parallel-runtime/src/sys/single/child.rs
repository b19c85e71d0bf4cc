//! There are no processes to start.

use std::ffi::OsString;
use std::io;
use std::time::Instant;

use super::none::{Descriptor, none};

/// An error: there are no worker processes on this system.
pub(crate) fn check() -> io::Result<()> {
    Err(none())
}

/// How a process would be started.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) inherits: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) input: Descriptor,
    pub(crate) output: Option<Descriptor>,
    pub(crate) error: Descriptor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus {
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
}

/// A process that this one has started: there is none.
#[derive(Debug)]
pub(crate) enum Child {}

impl Start {
    pub(crate) fn spawn(self) -> io::Result<Child> {
        let Self { name: _, arguments: _, inherits: _, variables: _, input, output: _, error: _ } = self;
        match input {}
    }
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        match *self {}
    }

    pub(crate) fn death(&self) -> &Descriptor {
        match *self {}
    }

    pub(crate) fn signal(&self, _signal: Signal) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn is_gone_by(&self, _deadline: Instant) -> bool {
        match *self {}
    }

    pub(crate) fn reap(&mut self) -> Option<ExitStatus> {
        match *self {}
    }

    pub(crate) fn kill_by_number(&mut self) {
        match *self {}
    }

    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        match *self {}
    }
}

#[cfg(feature = "dask")]
pub(crate) fn in_group_of_its_own(command: &mut std::process::Command) -> &mut std::process::Command {
    command
}

pub(crate) fn is_kill(signal: Option<i32>) -> bool {
    signal == KILLED
}

pub(crate) const KILLED: Option<i32> = Some(9);
