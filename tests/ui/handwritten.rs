//! What messages hold is believed, so only the attribute says how a function's arguments cross.

use parallel_runtime::private::{CodecError, ProcessReferent, Reader, Writer};

struct Forged;

impl ProcessReferent for Forged {
    type Stored = Self;

    fn send(&self, _: &mut Writer<'_>) -> Result<(), CodecError> {
        Ok(())
    }

    fn receive(_: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Self)
    }

    fn lend(stored: &Self) -> &Self {
        stored
    }
}

fn main() {}
