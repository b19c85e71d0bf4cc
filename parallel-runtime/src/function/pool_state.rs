//! The state that a pool gives its workers: of values that are known at run time.

use std::any::{Any, TypeId, type_name};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::{CodecError, Reader, Writer};
use crate::error::TaskError;
use crate::sys::image;

/// Makes a value.
type Make = Box<dyn Fn() -> Box<dyn Any> + Send + Sync>;

/// Makes it on this thread, unless it is there.
pub(crate) type Keep = fn() -> Result<(), TaskError>;

/// Decodes a configuration in a worker, and gives what makes the state of it. It travels as an offset into the executable.
pub(crate) type Receive = fn(&mut Reader<'_>) -> Result<PoolState, CodecError>;

/// Encodes a configuration.
type Encode = Box<dyn Fn(&mut Writer<'_>) -> Result<(), CodecError> + Send + Sync>;

/// How each worker of a pool makes its state.
pub(crate) struct PoolState {
    id: u64,
    of: TypeId,
    name: &'static str,
    make: Make,
    keep: Keep,
    remote: Option<RemoteState>,
}

/// How it reaches a worker process.
pub(crate) struct RemoteState {
    send: Encode,
    receive: Receive,
}

impl std::fmt::Debug for PoolState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PoolState").field(&self.name).finish()
    }
}

impl PoolState {
    /// `make` is called on each worker thread, by `keep`.
    pub(super) fn new<S: 'static>(make: impl Fn() -> S + Send + Sync + 'static, keep: Keep) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            of: TypeId::of::<S>(),
            name: type_name::<S>(),
            make: Box::new(move || Box::new(make())),
            keep,
            remote: None,
        }
    }

    /// It can be sent to worker processes.
    pub(super) fn with_remote(mut self, send: Encode, receive: Receive) -> Self {
        self.remote = Some(RemoteState { send, receive });
        self
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn is_of<S: 'static>(&self) -> bool {
        self.of == TypeId::of::<S>()
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.name
    }

    /// Makes a value of the type that [`is_of`](PoolState::is_of) knows.
    pub(super) fn make<S: 'static>(&self) -> S {
        *(self.make)().downcast().expect("the state of the pool is of this type")
    }

    /// See [`Keep`].
    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// Encodes its configuration.
    pub(crate) fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        match &self.remote {
            Some(remote) => (remote.send)(writer),
            None => Err(CodecError::new("it stays on this machine")),
        }
    }

    /// Where a worker finds what decodes it, as an offset in the executable.
    pub(crate) fn entry(&self) -> std::io::Result<u64> {
        let remote = self.remote.as_ref().ok_or_else(|| std::io::Error::other("it stays on this machine"))?;
        image::offset_of(remote.receive as usize)
    }
}

/// The function at an entry.
///
/// # Safety
///
/// The entry came from [`PoolState::entry`] in a process that runs the same executable.
pub(crate) unsafe fn receive_at(entry: u64) -> Receive {
    // SAFETY: by the caller's promise there is a `Receive` function at this offset of this image.
    unsafe { std::mem::transmute::<*const (), Receive>(image::address_at(entry)) }
}
