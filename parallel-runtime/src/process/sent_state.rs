//! The configuration of a pool's state, as it is sent to workers: encoded once, into a block that lives as long as the pool. Each worker decodes it when it
//! starts.

use std::io;
use std::sync::Arc;

use crate::codec::Writer;
use crate::function::pool_state::PoolState;
use crate::remote::message::{Arguments, Body, EncodedArguments, Loan, Refused};
use crate::shared::Arena;
use crate::sys::role;

/// A configuration in shared memory.
#[derive(Debug)]
pub(super) struct SentState {
    /// What decodes it, as an offset in the executable.
    pub(super) entry: u64,
    pub(super) arguments: Arguments,
    /// The shared objects whose handles are in it.
    _loan: Option<Box<Loan>>,
}

impl SentState {
    pub(super) fn new(arena: &Arc<Arena>, state: &PoolState) -> io::Result<Self> {
        let refused = |why: &dyn std::fmt::Display| {
            io::Error::other(format!("the configuration of `state_with` cannot be sent to workers: {why}"))
        };
        let mut encode = |writer: &mut Writer<'_>| state.send(writer);
        // Workers of a node read all that they are sent as what comes from another machine.
        let encoded = if role::is_node() {
            EncodedArguments::of_contents(arena, 1, &mut encode)
        } else {
            EncodedArguments::of_copies(arena, 1, &mut encode)
        };
        let encoded = encoded.map_err(|error| match error {
            Refused::Codec(error) => refused(&error),
            Refused::Memory(error) => refused(&error),
        })?;
        let Body::Block(arguments) = encoded.body else { return Err(refused(&"it has no place")) };
        let mut loan = encoded.loan;
        if let Some(loan) = loan.as_deref_mut().filter(|loan| loan.is_promised()) {
            loan.settle().map_err(|error| refused(&error))?;
        }
        Ok(Self { entry: state.entry()?, arguments, _loan: loan })
    }
}
