//! Waiting for many descriptors at once, by poll(2).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};

use super::cloexec;
use super::identity::Identity;

/// How long a wait takes at most: some systems refuse more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How often to look where that is all that can be done.
const LOOK: Duration = Duration::from_millis(10);

/// So many descriptors can be polled at once everywhere, if the process may open so many.
const MOST_AT_ONCE: usize = 1024;

#[derive(Clone, Copy)]
struct Watched {
    number: RawFd,
    key: u64,
    identity: Identity,
}

/// Descriptors by keys, which are any numbers.
pub(crate) struct Poller {
    /// A pipe that is written to wake the thread that waits.
    woken: OwnedFd,
    wake: OwnedFd,
    identities: [Identity; 2],
    watched: Mutex<Vec<Watched>>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let (woken, wake) = cloexec::pipe()?;
        rustix::io::ioctl_fionbio(&woken, true)?;
        rustix::io::ioctl_fionbio(&wake, true)?;
        let identities = [Identity::of(&woken)?, Identity::of(&wake)?];
        Ok(Self { woken, wake, identities, watched: Mutex::default() })
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a descriptor from now on: for something to read, or its end.
    pub(crate) fn add(&self, descriptor: &OwnedFd, key: u64) -> io::Result<()> {
        let watched = Watched { number: descriptor.as_raw_fd(), key, identity: Identity::of(descriptor)? };
        self.watched().push(watched);
        self.wake();
        Ok(())
    }

    /// Watches it no more. To be called before it is closed.
    pub(crate) fn remove(&self, descriptor: &OwnedFd) {
        let number = descriptor.as_raw_fd();
        self.watched().retain(|watched| watched.number != number);
        self.wake();
    }

    /// Whether a descriptor is still what was added under its key. A program that closes all descriptors closes ours with them, and may then open
    /// something of its own under the same numbers.
    pub(crate) fn still_watches(&self, descriptor: &OwnedFd, key: u64) -> bool {
        let number = descriptor.as_raw_fd();
        let known = self.watched().iter().find(|watched| watched.number == number && watched.key == key).copied();
        known.is_some_and(|known| Identity::of(descriptor).is_ok_and(|identity| identity == known.identity))
    }

    /// Whether its own descriptors are still its own.
    pub(crate) fn is_sound(&self) -> bool {
        let now = [&self.woken, &self.wake].map(|descriptor| Identity::of(descriptor).ok());
        now == self.identities.map(Some)
    }

    /// Wakes the thread that waits, or has its next wait return at once. False, and nothing is written, if its own descriptors are closed.
    pub(crate) fn wake(&self) -> bool {
        let is_sound = self.is_sound();
        if is_sound {
            // A pipe that is full wakes it, too.
            let _ = rustix::io::write(&self.wake, &[1]);
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
        if !self.is_sound() {
            return Err(closed());
        }
        let asked = self.watched().clone();
        let mut polled = Vec::with_capacity(asked.len() + 1);
        polled.push(PollFd::new(&self.woken, PollFlags::IN));
        polled.extend(asked.iter().map(|watched| {
            // SAFETY: it is borrowed for one question. Where it was removed and closed meanwhile the answer is about another descriptor, or an error,
            // and is not believed below.
            let descriptor = unsafe { BorrowedFd::borrow_raw(watched.number) };
            PollFd::from_borrowed_fd(descriptor, PollFlags::IN)
        }));
        match poll_all(&mut polled, timeout.map(|timeout| timeout.min(LONGEST))) {
            Ok(()) => {}
            // The system has no memory for it now.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOMEM) => {
                std::thread::sleep(LOOK);
                return Ok(Vec::new());
            }
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        if !self.is_sound() {
            return Err(closed());
        }
        let (woken, others) = polled.split_first().expect("there is one at least");
        if !woken.revents().is_empty() {
            while rustix::io::read(&self.woken, &mut [0_u8; 256]).is_ok_and(|len| len == 256) {}
        }
        let watched = self.watched();
        let mut keys = Vec::new();
        for (polled, asked) in others.iter().zip(&asked) {
            let still = || watched.iter().any(|watched| watched.number == asked.number && watched.key == asked.key);
            if polled.revents().is_empty() || !still() {
                continue;
            }
            // SAFETY: it is borrowed for one question, and is watched, or was closed by the program.
            let descriptor = unsafe { BorrowedFd::borrow_raw(asked.number) };
            if Identity::of(descriptor).ok() != Some(asked.identity) {
                return Err(closed());
            }
            keys.push(asked.key);
        }
        Ok(keys)
    }
}

/// The system polls no more at once than this process may open now: then they are looked at in turns.
fn poll_all(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> rustix::io::Result<()> {
    let limit = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(polled, limit.as_ref()) {
        Err(rustix::io::Errno::INVAL) => {}
        result => return result.map(drop),
    }
    let asked = Instant::now();
    let most = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    loop {
        let mut ready = 0;
        for some in polled.chunks_mut(most.unwrap_or(MOST_AT_ONCE).clamp(1, MOST_AT_ONCE)) {
            ready += poll(some, Some(&Timespec::default()))?;
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(asked.elapsed()));
        if ready > 0 || left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        std::thread::sleep(left.map_or(LOOK, |left| left.min(LOOK)));
    }
}

#[cfg(test)]
#[path = "../unix/poller/tests.rs"]
mod tests;
