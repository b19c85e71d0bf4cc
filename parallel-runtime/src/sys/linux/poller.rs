//! Waiting for many descriptors at once, by epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec};

/// The most events of one wait.
const MOST: usize = 32;

/// What the wake-up is watched under.
const WAKE: u64 = u64::MAX;

/// Descriptors by keys, which are any numbers but the largest.
pub(crate) struct Poller {
    epoll: OwnedFd,
    /// Written to wake the thread that waits.
    wake: OwnedFd,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self { epoll, wake })
    }

    /// Watches a descriptor from now on: for something to read, or its end.
    pub(crate) fn add(&self, descriptor: &OwnedFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(key), EventFlags::IN)?)
    }

    /// Watches it no more. To be called before it is closed: a child that the program forks holds a copy.
    pub(crate) fn remove(&self, descriptor: &OwnedFd) {
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Whether a descriptor is still what was added under its key. A program that closes all descriptors closes ours with them, and may then open
    /// something of its own under the same numbers.
    pub(crate) fn still_watches(&self, descriptor: &OwnedFd, key: u64) -> bool {
        epoll::modify(&self.epoll, descriptor, EventData::new_u64(key), EventFlags::IN).is_ok()
    }

    /// Whether its own descriptors are still its own.
    pub(crate) fn is_sound(&self) -> bool {
        self.still_watches(&self.wake, WAKE)
    }

    /// Wakes the thread that waits, or has its next wait return at once. False, and nothing is written, if its own descriptors are closed.
    pub(crate) fn wake(&self) -> bool {
        let is_sound = self.is_sound();
        if is_sound {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
        is_sound
    }

    /// The keys of those that have something to read, or have ended; none after a wake-up, a signal or the time.
    ///
    /// # Errors
    ///
    /// Its own descriptors are closed.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        let closed = || io::Error::from(rustix::io::Errno::BADF);
        // Only if they are still ours: another epoll would give us its own events.
        if !self.is_sound() {
            return Err(closed());
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = [MaybeUninit::uninit(); MOST];
        let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        // A child that the program has forked may hold copies, whose events come although ours are closed.
        if !ready.is_empty() && !self.is_sound() {
            return Err(closed());
        }
        let mut keys = Vec::with_capacity(ready.len());
        for event in ready {
            if event.data.u64() == WAKE {
                let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
            } else {
                keys.push(event.data.u64());
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
#[path = "../unix/poller/tests.rs"]
mod tests;
