//! States of pools, made of a configuration.

use std::sync::Arc;

use super::kept::keep_state_of_pool;
use super::pool_state::PoolState;
use crate::codec::{self, CodecError, Reader};

/// A state that stays in this process.
pub(crate) fn configured_by<S: 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> PoolState {
    PoolState::new(make, keep_state_of_pool::<S>)
}

/// A state of a configuration that crosses to worker processes.
///
/// `F` captures nothing: so a worker has it without being sent it.
pub(crate) fn remote<C, S, F>(config: C, make: F) -> PoolState
where
    C: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    S: 'static,
    F: Fn(&C) -> S + Copy + Send + Sync + 'static,
{
    const {
        assert!(
            size_of::<F>() == 0,
            "the closure of `state_with` captures something, which a worker process would not have: put it into the configuration"
        );
    }
    let config = Arc::new(config);
    let sent = Arc::clone(&config);
    configured_by(move || make(&config))
        .with_remote(Box::new(move |writer| codec::encode(&*sent, writer)), receive::<C, S, F>)
}

fn receive<C, S, F>(reader: &mut Reader<'_>) -> Result<PoolState, CodecError>
where
    C: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    S: 'static,
    F: Fn(&C) -> S + Copy + Send + Sync + 'static,
{
    let config: C = codec::decode(reader)?;
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: `F` has no size, so a pointer that is aligned points to one; it is `Copy`, and the program had one when it made the state, so the type has
    // values, and this is as good a copy as any.
    let make: F = unsafe { std::ptr::NonNull::<F>::dangling().read() };
    Ok(remote(config, make))
}
