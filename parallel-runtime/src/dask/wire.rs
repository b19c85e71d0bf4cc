//! The frames between program, bridge and node.
//!
//! A frame is its length (eight bytes), a kind (one byte), and that many bytes. Program and bridge, and a Dask worker and its node, talk over
//! pipes. What a *submission* holds, and the *reply* to it, is read only by processes of the same executable: numbers are native. The frames
//! themselves are read by Python too: their numbers are little-endian there, as on all machines that this runs on.

use std::io::{self, Read};

/// Bytes before each frame.
const HEAD: usize = 9;

/// A frame that is longer is a mistake.
const MOST: u64 = 1 << 40;

/// The kinds of frames from the program to the bridge.
pub(crate) mod to_bridge {
    /// The first one: what to connect to.
    pub(crate) const CONNECT: u8 = b'C';
    /// Run a submission.
    pub(crate) const SUBMIT: u8 = b'S';
    /// Ask all nodes something about requests.
    pub(crate) const ASK: u8 = b'A';
    /// A blob that submissions may need.
    pub(crate) const BLOB: u8 = b'B';
    /// A blob that none needs any more.
    pub(crate) const FREE: u8 = b'F';
    /// Fetch a reply that has stayed on the cluster.
    pub(crate) const FETCH: u8 = b'G';
    /// No process wants a reply that has stayed there.
    pub(crate) const FORGET: u8 = b'D';
}

/// The kinds of frames from the bridge to the program.
pub(crate) mod to_program {
    /// It is connected.
    pub(crate) const READY: u8 = b'c';
    /// It cannot connect, or has lost the cluster; it ends.
    pub(crate) const GONE: u8 = b'q';
    /// The reply to a submission.
    pub(crate) const REPLY: u8 = b'r';
    /// The reply to a submission is large, and stays on the cluster until it is fetched.
    pub(crate) const STAYS: u8 = b'l';
    /// A submission has failed, all of it.
    pub(crate) const FAILED: u8 = b'f';
    /// The answer to a question.
    pub(crate) const ANSWER: u8 = b'a';
    /// How many workers and threads the cluster has.
    pub(crate) const SIZE: u8 = b'w';
}

/// The kinds of frames to a node. Each begins with a number, which the answer repeats.
pub(crate) mod to_node {
    /// Run a submission.
    pub(crate) const RUN: u8 = 1;
    /// About requests.
    pub(crate) const ASK: u8 = 2;
    /// No process wants the reply to a submission any more.
    pub(crate) const DROP: u8 = 3;
}

/// What all nodes can be asked about requests. The answer has a byte for each, 1 for yes.
pub(crate) mod question {
    /// Do not begin them. Answer: whether it will not run here.
    pub(crate) const CANCEL: u8 = 0;
    /// End them. Answer: whether it was ended, or had not begun.
    pub(crate) const KILL: u8 = 1;
    /// Whether they run.
    pub(crate) const RUNNING: u8 = 2;
    /// They may be begun after all: one of them was, before it could be cancelled. Asked by the bridge.
    pub(crate) const ALLOW: u8 = 3;
}

/// Bytes to be sent, or stored.
#[derive(Debug, Default)]
pub(crate) struct Put(pub(crate) Vec<u8>);

impl Put {
    pub(crate) fn u8(&mut self, number: u8) -> &mut Self {
        self.0.push(number);
        self
    }

    pub(crate) fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    pub(crate) fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Bytes, with their number before them.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64).0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
}

/// Bytes that were received. What is missing at their end is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'b>(pub(crate) &'b [u8]);

impl<'b> Take<'b> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'b [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// What goes before `len` bytes of a frame.
pub(crate) fn head(kind: u8, len: usize) -> [u8; HEAD] {
    let mut head = [kind; HEAD];
    head[..8].copy_from_slice(&(len as u64).to_le_bytes());
    head
}

/// The next frame; `None` at the end of the stream.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD];
    match stream.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut head = Take(&head);
    let (Some(len @ ..=MOST), Some(kind)) = (head.u64(), head.u8()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    };
    // Not all at once: what is announced need not come.
    let mut bytes = Vec::with_capacity(len.min(64 << 20) as usize);
    stream.take(len).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < len {
        return Ok(None);
    }
    Ok(Some((kind, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        let mut put = Put::default();
        put.u8(7).u32(1 << 30).u64(u64::MAX).text("ä").bytes(&[]).bytes(&[1, 2]);
        let mut take = Take(&put.0);
        assert_eq!((take.u8(), take.u32(), take.u64()), (Some(7), Some(1 << 30), Some(u64::MAX)));
        assert_eq!((take.text().as_deref(), take.bytes(), take.bytes()), (Some("ä"), Some(&[][..]), Some(&[1, 2][..])));
        assert_eq!(take.u8(), None);
        // A length that is not there.
        let mut put = Put::default();
        put.u64(u64::MAX);
        assert_eq!(Take(&put.0).bytes(), None);
    }

    #[test]
    fn frames_come_out_whole_or_not_at_all() {
        let mut stream = head(b'x', 3).to_vec();
        stream.extend_from_slice(&[1, 2, 3]);
        stream.extend_from_slice(&head(b'y', 5));
        stream.push(9);
        let mut stream = &stream[..];
        assert_eq!(read(&mut stream).unwrap(), Some((b'x', vec![1, 2, 3])));
        assert_eq!(read(&mut stream).unwrap(), None);
        assert!(read(&mut &head(b'z', usize::MAX)[..]).is_err());
    }

    #[test]
    fn any_stream_is_frames_or_an_error() {
        crate::sys::random::with_random_bytes(|random| {
            let mut bytes: Vec<u8> = random.arbitrary()?;
            if random.arbitrary()? {
                let mut framed = head(random.arbitrary()?, bytes.len()).to_vec();
                framed.append(&mut bytes);
                bytes = crate::sys::random::damaged(random, framed)?;
            }
            let mut stream = &bytes[..];
            let mut taken = 0;
            while let Ok(Some((_, frame))) = read(&mut stream) {
                taken += HEAD + frame.len();
                assert_eq!(taken, bytes.len() - stream.len());
            }
            Ok(())
        });
    }
}
