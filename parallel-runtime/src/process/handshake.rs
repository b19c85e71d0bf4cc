//! What a worker is told at its start, and what it says on its control socket.
//!
//! The socket keeps the bounds of messages (`SOCK_SEQPACKET`). The program sends one message, the [`Welcome`], with the
//! arena's descriptor, before the worker even runs; it then only holds the socket open: its end is the worker's end. The
//! worker sends [`Request`]s.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

const MAGIC: u64 = u64::from_ne_bytes(*b"parallel");

/// The first and only message from the program.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Welcome {
    magic: u64,
    pub(super) arena_len: u64,
    pub(super) board_offset: u64,
    pub(super) workers: u32,
    pub(super) slots: u32,
    /// Which of the workers this one is.
    pub(super) worker: u32,
    /// 1 if it ends after one message.
    pub(super) one_shot: u32,
}

impl Welcome {
    pub(super) fn new(
        arena_len: u64,
        board_offset: u64,
        workers: u32,
        slots: u32,
        worker: u32,
        one_shot: bool,
    ) -> Self {
        Self { magic: MAGIC, arena_len, board_offset, workers, slots, worker, one_shot: one_shot.into() }
    }

    /// Sends it, with the arena.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, arena: BorrowedFd<'_>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [arena];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let data = [IoSlice::new(bytemuck::bytes_of(self))];
        rustix::net::sendmsg(socket, &data, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives it.
    pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let mut welcome = Self::zeroed();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(bytemuck::bytes_of_mut(&mut welcome))];
        let received = rustix::net::recvmsg(socket, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let arena = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match arena {
            Some(arena) if received.bytes == size_of::<Self>() && welcome.magic == MAGIC => Ok((welcome, arena)),
            _ => {
                Err(io::Error::other("this process was started as a worker by something that is not parallel-runtime"))
            }
        }
    }
}

/// What a worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// It is ready for work.
    Hello,
    /// It needs a block of so many bytes for a result.
    Grant(u64),
}

/// What was on the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Request(Request),
    /// Nothing, for now.
    Nothing,
    /// The worker has closed its end, or talks nonsense.
    End,
}

impl Request {
    pub(super) fn send(self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let words = match self {
            Self::Hello => [1_u64, 0],
            Self::Grant(len) => [2, len],
        };
        rustix::net::send(socket, bytemuck::bytes_of(&words), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes the next request, without waiting.
    pub(super) fn receive(socket: &impl AsFd) -> Received {
        let mut words = [0_u64; 2];
        let bytes: &mut [u8] = bytemuck::bytes_of_mut(&mut words);
        match rustix::net::recv(socket, bytes, RecvFlags::DONTWAIT) {
            Ok((_, 16)) => match words {
                [1, _] => Received::Request(Self::Hello),
                [2, len] => Received::Request(Self::Grant(len)),
                _ => Received::End,
            },
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Received::Nothing,
            _ => Received::End,
        }
    }
}

/// A connected pair of control sockets, closed on exec.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
