//! Messages between a program and its worker: a pair of connected sockets, on which each message follows its length. (macOS has no sockets between
//! processes that keep the bounds of messages and tell of their end.)
//!
//! The other end may be hostile: a message that is longer than any of ours is the end, and one that is only half there is waited for by nothing but
//! [`Channel::receive`], which the program does not use.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, sockopt,
};

use super::cloexec;

/// The longest message, in bytes.
const LONGEST: usize = 256 << 10;

/// Bytes of a length.
const HEAD: usize = size_of::<u32>();

/// How often a worker looks whether its program is still there, although nothing has told it otherwise.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long another thread may take to take a message in.
const TAKING: Duration = Duration::from_millis(1);

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// Threads take turns: what they send does not mix.
    sending: Mutex<()>,
    /// What has come of the next message, its length included.
    incoming: Mutex<Vec<u8>>,
    /// In a worker: the process that has started it.
    parent: i32,
}

#[cfg(target_os = "macos")]
const NO_SIGNAL: SendFlags = SendFlags::empty();
#[cfg(not(target_os = "macos"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;

impl Channel {
    /// Two connected ends, closed on exec. The other one is for a process that is started with it as its standard input.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
        for end in [&socket, &other] {
            cloexec::close_on_exec(end)?;
            // The first message is sent before the worker runs.
            sockopt::set_socket_send_buffer_size(end, LONGEST)?;
            sockopt::set_socket_recv_buffer_size(end, LONGEST)?;
            #[cfg(target_os = "macos")]
            sockopt::set_socket_nosigpipe(end, true)?;
        }
        // This end never waits: macOS does not heed `MSG_DONTWAIT` when it sends. The other end has a description of its own.
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok((Self::from_descriptor(socket), other))
    }

    pub(crate) fn from_descriptor(socket: OwnedFd) -> Self {
        Self { socket, sending: Mutex::default(), incoming: Mutex::default(), parent: parent() }
    }

    /// The one that is this process's standard input.
    ///
    /// # Safety
    ///
    /// Nothing else in this process uses its standard input before [`move_from_input`](Self::move_from_input).
    pub(crate) unsafe fn from_input() -> Self {
        // SAFETY: the standard input is a descriptor, or its use fails; nothing else uses it, as the caller promises.
        Self::from_descriptor(unsafe { OwnedFd::from_raw_fd(0) })
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
        let bytes = framed(&[message])?;
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        self.send_all(&bytes, SendFlags::empty())
    }

    /// The same, but without waiting: if there is no room, the message is lost.
    pub(crate) fn send_now(&self, message: &[u8]) {
        let Ok(bytes) = framed(&[message]) else { return };
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = rustix::net::send(&self.socket, &bytes, NO_SIGNAL | SendFlags::DONTWAIT);
        if sent.is_ok_and(|len| len < bytes.len()) {
            // The rest of it would come never: this end of it is not read.
            self.hang_up();
        }
    }

    fn send_all(&self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, NO_SIGNAL | flags) {
                Ok(len) => bytes = &bytes[len.min(bytes.len())..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends a message, with a descriptor. Does not wait: the other end may be no process yet.
    pub(crate) fn send_with(&self, message: &[&[u8]], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = framed(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = NO_SIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)?;
        self.send_all(&bytes[sent.min(bytes.len())..], SendFlags::DONTWAIT)
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
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let wanted = missing(&incoming)?;
            if wanted == 0 {
                let message = &incoming[HEAD..];
                let len = message.len().min(buffer.len());
                buffer[..len].copy_from_slice(&message[..len]);
                incoming.clear();
                return Ok(len);
            }
            // No more than that: what comes after it stays in the socket, where a poll sees it.
            let before = incoming.len();
            incoming.resize(before + wanted, 0);
            let received = rustix::net::recv(&self.socket, &mut incoming[before..], flags);
            incoming.truncate(before + received.as_ref().map_or(0, |(_, len)| *len));
            match received {
                Ok((_, 0)) => return Ok(0),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a message and the descriptor that came with it.
    pub(crate) fn receive_with(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        let mut head = [0; HEAD];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut head)];
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::empty())
        })?;
        let received = received.bytes;
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if let Some(descriptor) = &descriptor {
            cloexec::close_on_exec(descriptor)?;
        }
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&head[..received]);
        Ok((if received == 0 { 0 } else { self.receive(buffer)? }, descriptor))
    }

    /// Ends it, for both ends.
    pub(crate) fn hang_up(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// What waits for the end of the channel.
    pub(crate) fn watch_end(&self) -> io::Result<End<'_>> {
        Ok(End { socket: self.socket.as_fd(), parent: self.parent })
    }
}

/// Waits for the end of a channel.
pub(crate) struct End<'c> {
    socket: BorrowedFd<'c>,
    parent: i32,
}

fn parent() -> i32 {
    // SAFETY: `getppid` has no preconditions.
    unsafe { libc::getppid() }
}

impl End<'_> {
    /// Whether the program is gone. Another parent alone does not say so: macOS makes a debugger one.
    fn is_orphan(&self) -> bool {
        let program = rustix::process::Pid::from_raw(self.parent);
        let is_gone = |pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH);
        parent() != self.parent && program.is_none_or(is_gone)
    }

    /// Waits until the other end is closed, or the program is gone. Messages that come in meanwhile are for others.
    ///
    /// A poll keeps the socket open after a task has closed its descriptor: so it ends each second, and the program sees then that it has to replace
    /// such a worker.
    pub(crate) fn wait(&self) {
        while !self.is_orphan() {
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            if !matches!(poll(&mut polled, Some(&LOOK)), Ok(1..)) {
                continue;
            }
            match rustix::net::recv(self.socket, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return,
                // A message is for another thread.
                Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => std::thread::sleep(TAKING),
                // A task has closed what it should have kept. The program ends this process.
                Err(rustix::io::Errno::BADF | rustix::io::Errno::NOTSOCK) => std::thread::sleep(Duration::from_secs(1)),
                Err(_) => return,
            }
        }
    }
}

/// A message after its length.
fn framed(message: &[&[u8]]) -> io::Result<Vec<u8>> {
    let len = message.iter().map(|part| part.len()).sum::<usize>();
    let too_long = || io::Error::other("the message is too long");
    let head = u32::try_from(len).ok().filter(|_| len <= LONGEST - HEAD).ok_or_else(too_long)?;
    Ok([&[head.to_ne_bytes().as_slice()], message].concat().concat())
}

/// How many bytes are missing to the length of a message, or to its end.
fn missing(incoming: &[u8]) -> io::Result<usize> {
    let Some(head) = incoming.first_chunk::<HEAD>() else { return Ok(HEAD - incoming.len()) };
    let len = u32::from_ne_bytes(*head) as usize;
    if len == 0 || len > LONGEST - HEAD {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(HEAD + len - incoming.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = Channel::pair().unwrap();
        (one, Channel::from_descriptor(other))
    }

    #[test]
    fn messages_keep_their_bounds_and_come_in_order() {
        let (one, other) = pair();
        let mut buffer = [0; 100];
        let nothing = one.receive_now(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for message in [&b"first"[..], &[7; 99], b"x"] {
            other.send(message).unwrap();
        }
        assert_eq!(one.receive_now(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"first");
        assert_eq!(one.receive(&mut buffer[..10]).unwrap(), 10, "the first part of a longer one");
        assert_eq!(one.receive_now(&mut buffer).unwrap(), 1);
        drop(other);
        assert_eq!(one.receive_now(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn half_a_message_is_waited_for_and_a_length_that_none_of_ours_has_is_the_end() {
        let (one, other) = pair();
        let raw = |bytes: &[u8]| rustix::net::send(&other.socket, bytes, SendFlags::empty()).unwrap();
        let mut buffer = [0; 100];
        raw(&3_u32.to_ne_bytes()[..2]);
        assert_eq!(one.receive_now(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        raw(&3_u32.to_ne_bytes()[2..]);
        raw(b"ab");
        assert_eq!(one.receive_now(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        raw(b"c");
        assert_eq!(one.receive_now(&mut buffer).unwrap(), 3);
        raw(&u32::MAX.to_ne_bytes());
        assert_eq!(one.receive_now(&mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_descriptor_comes_with_its_message() {
        let (one, other) = pair();
        let (reads, writes) = cloexec::pipe().unwrap();
        other.send_with(&[&[1; 60 << 10], &[2; 60 << 10]], writes.as_fd()).unwrap();
        drop(writes);
        let mut buffer = vec![0; 200 << 10];
        let (len, descriptor) = one.receive_with(&mut buffer).unwrap();
        assert_eq!((len, buffer[0], buffer[len - 1]), (120 << 10, 1, 2));
        rustix::io::write(descriptor.unwrap(), b"!").unwrap();
        assert_eq!(rustix::io::read(reads, &mut [0; 2]), Ok(1));
    }
}
