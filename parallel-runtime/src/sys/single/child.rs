//! There are no processes to start.

use std::ffi::OsString;
use std::io;
use std::time::Instant;

use super::none::Descriptor;
pub(crate) use super::none::check;

/// How a process would be started.
#[expect(dead_code, reason = "nothing is started")]
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
pub(crate) struct Child(Descriptor);

impl Start {
    pub(crate) fn spawn(self) -> io::Result<Child> {
        check().map(|()| Child(self.input))
    }
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        0
    }

    pub(crate) fn death(&self) -> &Descriptor {
        &self.0
    }

    pub(crate) fn signal(&self, _signal: Signal) -> io::Result<()> {
        check()
    }

    pub(crate) fn is_gone_by(&self, _deadline: Instant) -> bool {
        true
    }

    pub(crate) fn reap(&mut self) -> Option<ExitStatus> {
        self.wait()
    }

    pub(crate) fn kill_by_number(&mut self) {}

    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        Some(ExitStatus { signal: None, code: None })
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
