//! What the serialiser writes besides numbers: frames, names, heads of structs, runs and texts.
//!
//! See [`codec`](super) for the format.

use super::error::CodecError;
use super::kind::*;
use super::shape::{self, Shape};
use super::writer::Writer;

type Result<T> = std::result::Result<T, CodecError>;

/// A number comes with its kind.
pub(super) const PLAIN: u8 = 0;

/// The lengths in a frame are those of the value and of what follows it; this bit says that something does.
pub(super) const HAS_TRAILER: u64 = 1 << 63;

/// Bytes of the head of a frame.
pub(super) const FRAME: usize = size_of::<u64>();

#[cold]
fn too_deep() -> CodecError {
    CodecError::new("it is nested too deeply for the stack of this thread: pass it in a flat form")
}

impl Writer<'_> {
    /// A value begins. Gives its place, for [`close_frame`](Writer::close_frame).
    #[inline(always)]
    pub(super) fn open_frame(&mut self) -> usize {
        let at = self.len();
        self.put([0; FRAME]);
        self.defined.clear();
        self.forget_more();
        self.failed = false;
        self.begun = 0;
        self.first = 0;
        if self.stack_floor == 0 {
            self.stack_floor = crate::sys::stack::floor();
        }
        at
    }

    /// The value is written.
    #[inline(always)]
    pub(super) fn close_frame(&mut self, at: usize) -> Result<()> {
        let mut len = (self.len() - at - FRAME) as u64;
        if self.defined.count() != 0 || !self.entries().is_empty() {
            len = self.put_trailer(at) | HAS_TRAILER;
        }
        if self.failed || self.begun != 0 {
            return Err(CodecError::new("its `Serialize` went on after an error or a panic"));
        }
        self.patch(at, len.to_le_bytes());
        Ok(())
    }

    /// The definitions of the shapes, the table of attachments, where each definition begins, how many there are of both, and how long all
    /// that is. Gives the length with it.
    #[inline(never)]
    fn put_trailer(&mut self, at: usize) -> u64 {
        let start = self.len();
        let attached = self.entries().len() as u32;
        if let (Some(only), 0) = (self.defined.only(), attached) {
            self.put_slice(&only.definition);
            self.put_both(0_u32.to_le_bytes(), 0_u32.to_le_bytes());
            self.put(1_u32.to_le_bytes());
        } else {
            let defined = std::mem::replace(&mut self.defined, shape::Defined::new());
            defined.definitions().for_each(|definition| self.put_slice(definition));
            for index in 0..self.entries().len() {
                self.put(self.entries()[index]);
            }
            let mut place = 0_u32;
            for definition in defined.definitions() {
                self.put(place.to_le_bytes());
                place += definition.len() as u32;
            }
            self.put_both(attached.to_le_bytes(), defined.count().to_le_bytes());
        }
        self.put(((self.len() - start + size_of::<u32>()) as u32).to_le_bytes());
        (self.len() - at - FRAME) as u64
    }

    /// To be called before a value that can hold others.
    #[inline(always)]
    pub(super) fn check_depth(&self) -> Result<()> {
        if crate::sys::stack::pointer() < self.stack_floor { Err(too_deep()) } else { Ok(()) }
    }

    /// Code of the user's gets to see this error, and may go on.
    #[cold]
    pub(super) fn fail(&mut self, error: CodecError) -> CodecError {
        self.failed = true;
        error
    }

    #[cold]
    pub(super) fn fail_in_field(&mut self, error: CodecError, name: &'static str) -> CodecError {
        self.fail(error.in_field(name))
    }

    #[inline]
    pub(super) fn put_name(&mut self, name: &'static str) -> Result<()> {
        match shape::literal(name) {
            Some(literal) if !self.canonical => {
                self.put(literal);
                Ok(())
            }
            _ => self.put_text_name(name),
        }
    }

    #[cold]
    pub(super) fn put_text_name(&mut self, name: &'static str) -> Result<()> {
        self.put(shape::text_head(name)?);
        self.put_slice(name.as_bytes());
        Ok(())
    }

    /// The head of a struct. Gives the shape that is expected of it.
    #[inline(never)]
    pub(super) fn put_struct(&mut self, slot: u8) -> Option<&'static Shape> {
        if self.canonical {
            self.put_both([NAMED], 0_u32.to_le_bytes());
            return None;
        }
        self.put_both([STRUCT], 0_u32.to_le_bytes());
        shape::expected(slot)
    }

    /// A sequence that is one run.
    #[inline(never)]
    pub(super) fn put_plain(&mut self, kind: u8, count: usize, bytes: &[u8]) {
        // No elements have no kind.
        self.put_both([SEQ, if count == 0 { PLAIN } else { kind }], (count as u64).to_le_bytes());
        self.put_slice(bytes);
    }

    #[inline(never)]
    pub(super) fn put_text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(len) if len < SHORT => self.put([SHORT | len]),
            _ => self.put_both([STR], (text.len() as u64).to_le_bytes()),
        }
        self.put_slice(text.as_bytes());
    }
}
