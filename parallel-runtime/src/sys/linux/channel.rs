//! Messages between a program and its worker: a pair of connected sockets that keep their bounds (`SOCK_SEQPACKET`).

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Two connected ends, closed on exec. The other one is for a process that is started with it as its standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { socket }, other))
    }

    #[cfg(test)]
    pub(crate) fn from_descriptor(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// The one that is this process's standard input.
    ///
    /// # Safety
    ///
    /// Nothing else in this process uses its standard input before [`move_from_input`](Self::move_from_input).
    pub(crate) unsafe fn from_input() -> Self {
        // SAFETY: the standard input is a descriptor, or its use fails; nothing else uses it, as the caller promises.
        Self { socket: unsafe { OwnedFd::from_raw_fd(0) } }
    }

    /// Gives the standard input free for tasks, which find nothing there.
    pub(crate) fn move_from_input(&mut self) -> io::Result<()> {
        super::streams::move_from_input(&mut self.socket)
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.socket
    }

    /// Sends a message. Waits until there is room.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The same, but without waiting: if there is no room, the message is lost.
    pub(crate) fn send_now(&self, message: &[u8]) {
        let _ = rustix::net::send(&self.socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Sends a message, with a descriptor.
    pub(crate) fn send_with(&self, message: &[&[u8]], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let parts: Vec<IoSlice<'_>> = message.iter().map(|part| IoSlice::new(part)).collect();
        rustix::net::sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a message, and gives how long it is: the first part of it if it is longer than `buffer`. 0 at the end of the channel.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer, RecvFlags::empty())
    }

    /// The same, but without waiting: `WouldBlock` if there is none yet.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer, RecvFlags::DONTWAIT)
    }

    fn take(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.socket, &mut *buffer, flags) {
                Ok((len, _)) => return Ok(len),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a message and the descriptor that came with it.
    pub(crate) fn receive_with(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Ok((received.bytes, descriptor))
    }

    /// Ends it, for both ends.
    pub(crate) fn hang_up(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// What waits for the end of the channel.
    pub(crate) fn watch_end(&self) -> io::Result<End<'_>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Not what comes in: that is for another thread.
        epoll::add(&epoll, &self.socket, EventData::new_u64(0), EventFlags::RDHUP)?;
        Ok(End { epoll, _channel: PhantomData })
    }
}

/// Waits for the end of a channel.
pub(crate) struct End<'c> {
    epoll: OwnedFd,
    _channel: PhantomData<&'c Channel>,
}

impl End<'_> {
    /// Waits until the other end is closed.
    ///
    /// Not by reading, nor by poll(2): both would keep the socket open after a task has closed its descriptor, and the program, which has to replace
    /// such a worker, would not notice.
    pub(crate) fn wait(&self) {
        let mut events = [MaybeUninit::uninit(); 1];
        loop {
            match epoll::wait(&self.epoll, &mut events, None) {
                Ok(_) => return,
                Err(rustix::io::Errno::INTR) => {}
                // A task has closed what it should have kept. The program ends this process, or the kernel does when the program ends.
                Err(_) => std::thread::sleep(Duration::from_secs(3600)),
            }
        }
    }
}
