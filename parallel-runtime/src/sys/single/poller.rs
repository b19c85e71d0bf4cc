//! There is nothing to wait for.

use std::io;
use std::time::Duration;

use super::none::Descriptor;

/// There is none.
pub(crate) enum Poller {}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Err(super::none::none())
    }

    pub(crate) fn add(&self, _descriptor: &Descriptor, _key: u64) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn remove(&self, _descriptor: &Descriptor) {
        match *self {}
    }

    pub(crate) fn still_watches(&self, _descriptor: &Descriptor, _key: u64) -> bool {
        match *self {}
    }

    pub(crate) fn is_sound(&self) -> bool {
        match *self {}
    }

    pub(crate) fn wake(&self) {
        match *self {}
    }

    pub(crate) fn wait(&self, _timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        match *self {}
    }
}
