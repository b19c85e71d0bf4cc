//! What a worker says to the program, on its control channel.
//!
//! The program believes no request further than its own records confirm.

use std::io;

use crate::sys::channel::Channel;

/// The longest text of a worker that could not start, in bytes; what is longer is cut.
const MOST_TEXT: usize = 4096;

/// Words of a request: what it is, and up to four numbers.
const WORDS: usize = 5;

/// Words of an answer.
pub(crate) const ANSWER: usize = 5;

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ControlRequest {
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
    /// The lock at this offset names the program: does it hold it? No answer; if it does not, the lock is a dead process's from then on.
    Deny(u64),
    /// What does the number of a function stand for? The answer comes on the channel.
    Function(u64),
    /// It ends by itself, between two tasks, so that a fresh worker takes its place.
    Retire,
    /// It cannot start, and why.
    Failed(String),
}

/// What was on the channel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Request(ControlRequest),
    /// Nothing, for now.
    Nothing,
    /// The worker has closed its end, or talks nonsense.
    End,
}

impl ControlRequest {
    pub(crate) fn send(&self, channel: &Channel) -> io::Result<()> {
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
            Self::Deny(offset) => [13, offset, 0, 0, 0],
            Self::Function(number) => [14, number, 0, 0, 0],
        };
        let mut bytes = bytemuck::bytes_of(&words).to_vec();
        bytes.extend_from_slice(&text.as_bytes()[..text.len().min(MOST_TEXT)]);
        channel.send(&bytes)
    }

    /// Takes the next request, without waiting.
    pub(crate) fn receive(channel: &Channel) -> Received {
        let mut bytes = [0_u8; 8 * WORDS + MOST_TEXT];
        let len = match channel.receive_now(&mut bytes) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
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
            [13, offset, ..] => Self::Deny(offset),
            [14, number, ..] => Self::Function(number),
            _ => return Received::End,
        })
    }
}

/// The only answer that comes on the channel: a number and what it stands for.
pub(crate) fn tell_function(channel: &Channel, number: u64, entry: u64) {
    // A worker asks for one at a time. One that does not read its answers gets none.
    channel.send_now(bytemuck::bytes_of(&[number, entry]));
}

/// Worker: waits for what the number of a function stands for. `None` if the program is gone.
pub(crate) fn told_function(channel: &Channel, number: u64) -> Option<u64> {
    loop {
        let mut answer = [0_u64; 2];
        match channel.receive(bytemuck::bytes_of_mut(&mut answer)) {
            Ok(16) if answer[0] == number => return Some(answer[1]),
            Ok(1..) => {}
            Ok(0) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::with_random_bytes;

    #[test]
    fn any_bytes_from_a_worker_are_a_request_or_the_end() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::from_descriptor(theirs);
        with_random_bytes(|random| {
            let mut bytes: Vec<u8> = random.arbitrary()?;
            if random.arbitrary()? {
                // Of the right length, with a kind that there may be.
                bytes.resize(8 * WORDS, 0);
                bytes[..8].copy_from_slice(&random.int_in_range(0..=15_u64)?.to_le_bytes());
            }
            // An empty message is the end of the channel.
            if bytes.is_empty() || bytes.len() > 8 * WORDS + MOST_TEXT {
                return Ok(());
            }
            theirs.send(&bytes).unwrap();
            let received = ControlRequest::receive(&ours);
            assert_ne!(received, Received::Nothing);
            if let Received::Request(request) = received {
                // What it says is what it is.
                request.send(&theirs).unwrap();
                assert_eq!(ControlRequest::receive(&ours), Received::Request(request));
            }
            Ok(())
        });
    }
}
