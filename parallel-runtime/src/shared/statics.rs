//! Statics that are the same in the program and in every worker.
//!
//! A worker is the same executable, so a static is named by its offset from the start of the executable's image. The first process that
//! uses it makes the object, and the program's records say which it is; the others ask once.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::handle::{Handle, Reference};
use super::local_handles;
use super::objects;
use crate::error::TaskError;
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::sys::image;
use crate::sys::role;

/// A handle of one shared object: what a `#[shared]` static can be.
#[diagnostic::on_unimplemented(
    message = "a `#[shared]` static cannot be a `{Self}`",
    label = "not a shared object",
    note = "it is a `SharedValue`, `SharedArray`, `SharedSlice`, `SharedDict`, `SharedList`, `SharedQueue`, `SharedLock`, `SharedEvent`, `SharedBarrier` or `SharedSemaphore`"
)]
pub trait SharedObject: Sized {
    #[doc(hidden)]
    fn to_object(&self) -> Object;
    #[doc(hidden)]
    fn from_object(object: Object) -> Self;
}

/// What a handle is a handle of.
#[doc(hidden)]
pub struct Object(pub(super) Arc<Handle>);

/// A static of type `T` that is the same in the program and in every worker: what [`#[shared]`](macro@crate::shared) makes of a
/// static. It derefs to `T`.
pub struct SharedStatic<T> {
    make: fn() -> T,
    value: OnceLock<T>,
}

impl<T: SharedObject> SharedStatic<T> {
    #[doc(hidden)]
    pub const fn new(make: fn() -> T) -> Self {
        Self { make, value: OnceLock::new() }
    }
}

impl<T: SharedObject> Deref for SharedStatic<T> {
    type Target = T;
    /// # Panics
    ///
    /// At first use: if shared memory is short, or if the static is not part of the executable itself.
    fn deref(&self) -> &T {
        self.value.get_or_init(|| {
            let at = image::offset_of_static(self);
            let at = at.expect("a `#[shared]` item is a static of the executable itself, not of a shared library");
            let settled = settle(at, || Ok((self.make)().to_object().0));
            T::from_object(Object(super::or_panic::or_panic(settled)))
        })
    }
}

/// The offset of a static, if nothing that lay there was used before: what is put into a static later (an `Option` that is set
/// again) is another value.
pub(super) fn first_of(at: Option<u64>) -> Option<u64> {
    static USED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    at.filter(|at| USED.lock().unwrap_or_else(PoisonError::into_inner).insert(*at))
}

/// The object behind a static: `make`s it, if no process has.
pub(super) fn settle(at: u64, make: impl FnOnce() -> Result<Arc<Handle>, TaskError>) -> Result<Arc<Handle>, TaskError> {
    if !role::in_worker() {
        if let Some(handle) = objects::settle_static(at, None) {
            return Ok(handle);
        }
        return Ok(objects::settle_static(at, Some(make()?)).expect("there is one now"));
    }
    if let Some(handle) = ask(at, 0, 0) {
        return Ok(handle);
    }
    let made = make()?;
    let Reference { id, nonce, .. } = made.reference();
    Ok(ask(at, id.into(), nonce).unwrap_or(made))
}

/// Worker: asks the program.
fn ask(at: u64, id: u64, nonce: u64) -> Option<Arc<Handle>> {
    let [offset, _, id, nonce, _] = link::ask(&ControlRequest::Static { at, id, nonce });
    if offset == 0 {
        return None;
    }
    local_handles::pin(u32::try_from(id).ok()?, nonce)
}
