//! The standard streams.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Output,
    Error,
}

impl Standard {
    fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Output => rustix::stdio::stdout(),
            Self::Error => rustix::stdio::stderr(),
        }
    }

    /// Writes to it: not through the standard library's handle, whose lock may be held by the very thread that waits for a worker which waits until
    /// this is read.
    pub(crate) fn write_all(self, mut bytes: &[u8]) {
        let to = self.descriptor();
        while !bytes.is_empty() {
            match rustix::io::write(to, bytes) {
                Ok(len) => bytes = &bytes[len.min(bytes.len())..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut events = [PollFd::new(&to, PollFlags::OUT)];
                    let _ = poll(&mut events, None);
                }
                // If it cannot be written, no thread wants it.
                Err(_) => return,
            }
        }
    }

    /// The same, but gives up at `deadline`: a pipe that has room for so much takes it without waiting.
    pub(crate) fn write_until(self, bytes: &[u8], deadline: Instant) {
        const STEP: usize = 4096;
        let to = self.descriptor();
        for piece in bytes.chunks(STEP) {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut events = [PollFd::new(&to, PollFlags::OUT)];
            let timeout = Timespec::try_from(left).ok();
            if !matches!(poll(&mut events, timeout.as_ref()), Ok(1..)) {
                return;
            }
            self.write_all(piece);
        }
    }

    /// Whether it is a pipe or a terminal that takes nothing at the moment.
    pub(crate) fn is_full(self) -> bool {
        let to = self.descriptor();
        let mut polled = [PollFd::new(&to, PollFlags::OUT)];
        matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0))
    }
}

/// If the program has closed a standard stream, what this process opens next would take its number, and be what tasks print to.
pub(crate) fn open_all() -> io::Result<()> {
    loop {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It takes the place of the stream that is missing, for good, and for programs that tasks start.
        rustix::io::fcntl_setfd(&null, rustix::io::FdFlags::empty())?;
        let _ = null.into_raw_fd();
    }
}

/// Gives the standard input, which is `descriptor`, another number: tasks that read their input find nothing there.
pub(super) fn move_from_input(descriptor: &mut OwnedFd) -> io::Result<()> {
    let null = std::fs::File::open("/dev/null")?;
    // High up, where no number is that something in the environment names (as `make` does for its jobs).
    let moved = rustix::io::fcntl_dupfd_cloexec(&*descriptor, 100)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(&*descriptor, 3))?;
    rustix::stdio::dup2_stdin(&null)?;
    // The number stays open, as the standard input.
    let _ = std::mem::replace(descriptor, moved).into_raw_fd();
    Ok(())
}

/// Takes the standard input and output away, for messages of ours: what tasks print goes to the standard error, and they read nothing.
#[cfg(feature = "dask")]
pub(crate) fn take() -> io::Result<(std::fs::File, std::fs::File)> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok((input.into(), output.into()))
}
