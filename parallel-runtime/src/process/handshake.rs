//! What a worker is told at its start, and what it says on its control socket.
//!
//! The socket keeps the bounds of messages (`SOCK_SEQPACKET`). The program sends one message, the [`Welcome`], with the
//! arena's descriptor, before the worker even runs; it then only holds the socket open: its end is the worker's end. The
//! worker sends [`Request`]s. The program believes none of them more than it must: see the module's documentation.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytemuck::{Pod, Zeroable};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::sandbox::Allowed;

const MAGIC: u64 = u64::from_ne_bytes(*b"parallel");

/// The most bytes of paths that a sandbox allows.
const MOST_PATHS: usize = 64 << 10;

/// The longest text of a worker that could not start, in bytes; what is longer is cut.
const MOST_TEXT: usize = 4096;

/// Words of a request: what it is, and up to four numbers.
const WORDS: usize = 5;

/// Words of an answer.
pub(crate) const ANSWER: usize = 5;

/// The first and only message from the program. After it come the paths that the sandbox allows.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Welcome {
    pub(super) magic: u64,
    pub(super) arena_len: u64,
    /// 1 if its memory is limited.
    pub(super) arena_scarce: u64,
    pub(super) board_offset: u64,
    pub(super) workers: u32,
    pub(super) slots: u32,
    /// Which of the workers this one is.
    pub(super) worker: u32,
    /// 1 if it ends after one message.
    pub(super) one_shot: u32,
    /// After so many tasks it retires; 0 for no limit.
    pub(super) max_tasks: u64,
    /// In bytes; 0 for no limit.
    pub(super) memory_limit: u64,
    /// The function to run first, as an offset from the start of the image; 0 for none.
    pub(super) init: u64,
    /// 1 if it confines itself before the first task.
    pub(super) sandbox: u64,
    /// Its [`Token`](crate::shared::Token).
    pub(super) token: u64,
    /// 1 if its results go to another machine.
    pub(super) far: u64,
}

impl Welcome {
    /// Sends it, with the arena and with the paths that the sandbox allows.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, arena: BorrowedFd<'_>, allowed: &Allowed) -> io::Result<()> {
        let welcome = Self { magic: MAGIC, ..*self };
        let paths = allowed.to_bytes();
        if paths.len() > MOST_PATHS {
            return Err(io::Error::other("the sandbox allows too many paths: 64 KiB of them at most"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [arena];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let data = [IoSlice::new(bytemuck::bytes_of(&welcome)), IoSlice::new(&paths)];
        rustix::net::sendmsg(socket, &data, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives it.
    pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd, Allowed)> {
        let mut welcome = Self::zeroed();
        let mut paths = vec![0_u8; MOST_PATHS];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut data = [IoSliceMut::new(bytemuck::bytes_of_mut(&mut welcome)), IoSliceMut::new(&mut paths)];
        let received = rustix::net::recvmsg(socket, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let arena = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match (arena, received.bytes.checked_sub(size_of::<Self>())) {
            (Some(arena), Some(rest)) if welcome.magic == MAGIC => {
                Ok((welcome, arena, Allowed::from_bytes(&paths[..rest])))
            }
            _ => {
                Err(io::Error::other("this process was started as a worker by something that is not parallel-runtime"))
            }
        }
    }
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// It is a worker, and runs `init`.
    Hello,
    /// It is ready for work.
    Ready,
    /// It needs a block of so many bytes for a result. Answer: its offset; or 0, and how much is available.
    Grant(u64),
    /// It needs a shared object. Answer: its offset, or 0; how much is available; its number and nonce; 1 if it is zeroed.
    New { len: u64, alignment: u64, kind: u64 },
    /// A shared object needs more memory. Answer: as for a block.
    More { id: u64, nonce: u64, len: u64 },
    /// The next result of the task in this place (`generation | slot`) holds a handle of this object. Answer: 1, or 0 if there is no
    /// such object.
    Keep { id: u64, nonce: u64, task: u64 },
    /// A handle of an object is about to be put into a container. Answer: 1, or 0 if one of them is gone.
    Store { container: (u64, u64), object: (u64, u64) },
    /// A handle of an object has been taken out of a container. No answer.
    Unstore { container: u64, object: u64 },
    /// It has let go of an object that only workers had. No answer.
    Released(u64),
    /// What is behind the static at this offset of the executable; the object, if there is nothing yet. Answer: offset, length, number
    /// and nonce of the object, or zeros.
    Static { at: u64, id: u64, nonce: u64 },
    /// It ends by itself, between two tasks, so that a fresh worker takes its place.
    Retire,
    /// It cannot start, and why.
    Failed(String),
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
    pub(super) fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let text = if let Self::Failed(text) = self { text.as_str() } else { "" };
        let words: [u64; WORDS] = match *self {
            Self::Hello => [1, 0, 0, 0, 0],
            Self::Grant(len) => [2, len, 0, 0, 0],
            Self::Ready => [3, 0, 0, 0, 0],
            Self::Retire => [4, 0, 0, 0, 0],
            Self::Failed(_) => [5, 0, 0, 0, 0],
            Self::New { len, alignment, kind } => [6, len, alignment, kind, 0],
            Self::More { id, nonce, len } => [7, id, nonce, len, 0],
            Self::Keep { id, nonce, task } => [8, id, nonce, task, 0],
            Self::Store { container, object } => [9, container.0, container.1, object.0, object.1],
            Self::Unstore { container, object } => [10, container, object, 0, 0],
            Self::Released(id) => [11, id, 0, 0, 0],
            Self::Static { at, id, nonce } => [12, at, id, nonce, 0],
        };
        let mut bytes = bytemuck::bytes_of(&words).to_vec();
        bytes.extend_from_slice(&text.as_bytes()[..text.len().min(MOST_TEXT)]);
        rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes the next request, without waiting.
    pub(super) fn receive(socket: &impl AsFd) -> Received {
        let mut bytes = [0_u8; 8 * WORDS + MOST_TEXT];
        let len = match rustix::net::recv(socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((len, _)) => len,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Received::Nothing,
            Err(_) => return Received::End,
        };
        let Some((words, text)) = bytes[..len].split_at_checked(8 * WORDS) else { return Received::End };
        let Ok(words) = bytemuck::try_pod_read_unaligned::<[u64; WORDS]>(words) else { return Received::End };
        Received::Request(match words {
            [1, ..] => Self::Hello,
            [2, len, ..] => Self::Grant(len),
            [3, ..] => Self::Ready,
            [4, ..] => Self::Retire,
            [5, ..] => Self::Failed(String::from_utf8_lossy(text).into_owned()),
            [6, len, alignment, kind, _] => Self::New { len, alignment, kind },
            [7, id, nonce, len, _] => Self::More { id, nonce, len },
            [8, id, nonce, task, _] => Self::Keep { id, nonce, task },
            [9, id, nonce, object, other] => Self::Store { container: (id, nonce), object: (object, other) },
            [10, container, object, ..] => Self::Unstore { container, object },
            [11, id, ..] => Self::Released(id),
            [12, at, id, nonce, _] => Self::Static { at, id, nonce },
            _ => return Received::End,
        })
    }
}

/// A connected pair of control sockets, closed on exec.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::with_random_bytes;

    #[test]
    fn any_bytes_from_a_worker_are_a_request_or_the_end() {
        let (ours, theirs) = pair().unwrap();
        with_random_bytes(|random| {
            let mut bytes: Vec<u8> = random.arbitrary()?;
            if random.arbitrary()? {
                // Of the right length, with a kind that there may be.
                bytes.resize(8 * WORDS, 0);
                bytes[..8].copy_from_slice(&random.int_in_range(0..=14_u64)?.to_le_bytes());
            }
            // An empty message is the end of the socket.
            if bytes.is_empty() || bytes.len() > 8 * WORDS + MOST_TEXT {
                return Ok(());
            }
            rustix::net::send(&theirs, &bytes, SendFlags::NOSIGNAL).unwrap();
            let received = Request::receive(&ours);
            assert_ne!(received, Received::Nothing);
            if let Received::Request(request) = received {
                // What it says is what it is.
                request.send(theirs.as_fd()).unwrap();
                assert_eq!(Request::receive(&ours), Received::Request(request));
            }
            Ok(())
        });
    }

    #[test]
    fn any_bytes_for_a_worker_are_a_welcome_or_an_error() {
        let (ours, theirs) = pair().unwrap();
        with_random_bytes(|random| {
            let bytes: Vec<u8> = random.arbitrary()?;
            if !bytes.is_empty() {
                rustix::net::send(&ours, &bytes, SendFlags::NOSIGNAL).unwrap();
                assert!(Welcome::receive(theirs.as_fd()).is_err(), "there is no descriptor of an arena with it");
            }
            Ok(())
        });
    }
}
