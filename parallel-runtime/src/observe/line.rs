//! Values as lines of a worker's standard error: each begins with a mark.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Reader, Writer};

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "tracing", feature = "log")), expect(dead_code, reason = "only one of them is sent"))]
pub(super) enum Kind {
    /// An event of `tracing`.
    Event,
    /// A record of `log`.
    Record,
}

/// What a line begins with. A task that prints this tells the program of an event that never was, which it could also emit.
const MARK: &[u8] = b"\x1e\x02parallel-";

/// The end of the mark.
const END: u8 = 0x1f;

/// In place of a byte that would end the line, this and another byte.
const ESCAPE: u8 = 0x10;

/// The longest text, in bytes; a longer one is cut.
const MOST_TEXT: usize = 8 << 10;

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Event => b"event",
            Self::Record => b"record",
        }
    }
}

/// A text that is not too long.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        let end = (0..=MOST_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Where one of these begins in a line: at its beginning, or after what a task has printed without a line's end.
pub(crate) fn place(line: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = line[from..].iter().position(|byte| *byte == MARK[0]) {
        if line[from + at..].starts_with(MARK) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The whole line.
pub(super) fn encode(kind: Kind, value: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut room = 4096;
    // The writer says how much there would have been.
    loop {
        bytes.resize(room, std::mem::MaybeUninit::new(0_u8));
        let mut writer = Writer::new(&mut bytes);
        codec::encode(value, &mut writer).ok()?;
        let (len, fits) = (writer.len(), !writer.overflowed());
        drop(writer);
        if fits {
            bytes.truncate(len);
            break;
        }
        room = len;
    }
    let mut line = [MARK, kind.name(), &[END]].concat();
    for byte in bytes {
        // SAFETY: all of it was set to 0 before the writer wrote.
        match unsafe { byte.assume_init() } {
            b'\n' => line.extend([ESCAPE, b'n']),
            ESCAPE => line.extend([ESCAPE, b'e']),
            other => line.push(other),
        }
    }
    line.push(b'\n');
    Some(line)
}

/// Reads a line, without its end.
pub(super) fn decode<T: DeserializeOwned>(kind: Kind, line: &[u8]) -> Option<T> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.strip_prefix(MARK)?.strip_prefix(kind.name())?.strip_prefix(&[END])?.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            &ESCAPE => match rest.next()? {
                b'n' => b'\n',
                b'e' => ESCAPE,
                _ => return None,
            },
            other => *other,
        });
    }
    // SAFETY: the bytes are ours, and live as long as the reader.
    let reader = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) };
    codec::decode(&mut reader.untrusted()).ok()
}
