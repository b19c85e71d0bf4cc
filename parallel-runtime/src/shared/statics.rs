//! Statics that are the same in the program and in every worker.
//!
//! A worker is the same executable, so a static is named by its offset from the start of the executable's image. The first process that
//! uses it makes the object, and the program's records say which it is; the others ask once.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::handle::{Handle, Reference};
use super::local_handles;
use super::objects;
use super::tables::Kind;
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
    /// What the executable says of a static of this type: see [`mark`].
    #[doc(hidden)]
    const MARK: u64;
    #[doc(hidden)]
    fn to_object(&self) -> Object;
    #[doc(hidden)]
    fn from_object(object: Object) -> Self;
}

/// A number that is not in an executable by chance.
const MARK: u64 = 0x7061_7261 << 32;

/// What stands in a static, and so in the file of the executable: that there is a static, and what object can be behind it. A worker may name any
/// place of the executable, and any object; what the program finds in that file no worker has written.
///
/// `bytes`: how long the object is; 0 if that is the static's affair.
pub(super) const fn mark(kind: Kind, bytes: usize) -> u64 {
    let bytes = if bytes < 1 << 24 { bytes as u64 } else { 0 };
    MARK | (kind as u64) << 24 | bytes
}

/// Program: whether an object of this kind and length can be behind the static at an offset of the executable.
pub(crate) fn may_be_behind(at: u64, kind: Kind, len: u64) -> bool {
    // Without procfs there is nothing to compare with.
    let Some(word) = image::initial_word(at) else { return true };
    // A slice has one owner as long as its maker has not shared it.
    let kinds = if kind == Kind::Vec { [kind, Kind::Slice] } else { [kind, kind] };
    kinds.into_iter().any(|kind| word == mark(kind, len as usize) || word == mark(kind, 0))
}

/// What a handle is a handle of.
#[doc(hidden)]
#[derive(Debug)]
pub struct Object(pub(super) Arc<Handle>);

/// A static of type `T` that is the same in the program and in every worker: what [`#[shared]`](macro@crate::shared) makes of a
/// static. It derefs to `T`.
pub struct SharedStatic<T> {
    mark: u64,
    make: fn() -> T,
    value: OnceLock<T>,
}

impl<T: fmt::Debug> fmt::Debug for SharedStatic<T> {
    /// The object, if something has used it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedStatic").field(&self.value.get()).finish()
    }
}

impl<T: SharedObject> SharedStatic<T> {
    #[doc(hidden)]
    pub const fn new(make: fn() -> T) -> Self {
        Self { mark: T::MARK, make, value: OnceLock::new() }
    }
}

impl<T: SharedObject> Deref for SharedStatic<T> {
    type Target = T;
    /// # Panics
    ///
    /// At first use: if shared memory is short, or if the static is not part of the executable itself.
    fn deref(&self) -> &T {
        self.value.get_or_init(|| {
            let at = image::offset_of_static(&self.mark);
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
///
/// # Panics
///
/// In a worker that is isolated: what it made would be another object than the program's.
pub(super) fn settle(at: u64, make: impl FnOnce() -> Result<Arc<Handle>, TaskError>) -> Result<Arc<Handle>, TaskError> {
    assert!(
        !role::is_isolated(),
        "a shared static cannot be used by a worker in a sandbox, nor by a process that a task has started, which shares no objects with the \
         program: pass its value, or use a pool without a sandbox"
    );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::containers::dict::SharedDict;
    use crate::shared::value::SharedValue;

    static NAMES: SharedStatic<SharedDict<u64, u64>> = SharedStatic::new(SharedDict::new);
    static COUNT: SharedValue<u64> = SharedValue::new(0);
    static OTHER: [u64; 2] = [1, 2];

    #[test]
    #[cfg_attr(miri, ignore = "there is no executable")]
    fn behind_a_static_there_is_an_object_of_its_kind_and_size_and_elsewhere_none() {
        NAMES.insert(1, 2);
        COUNT.set(3);
        let names = image::offset_of_static(&NAMES.mark).unwrap();
        let count = image::offset_of_static(&COUNT).unwrap();
        let other = image::offset_of_static(&OTHER).unwrap();
        // The value may lie anywhere in the static.
        let one_of = |kind, len| (0..4).filter(|word| may_be_behind(count + 8 * word, kind, len)).count();
        let settled = |at: u64| objects::settle_static(at, None).map(|handle| handle.reference().len);
        let len = (0..4).find_map(|word| settled(count + 8 * word)).expect("it was used");
        assert_eq!(one_of(Kind::Cells, len), 1);
        assert_eq!((one_of(Kind::Cells, len + 8), one_of(Kind::Dict, len)), (0, 0));
        assert!(may_be_behind(names, Kind::Dict, 4096) && may_be_behind(names, Kind::Dict, 64));
        assert!(!may_be_behind(names, Kind::List, 4096) && !may_be_behind(other, Kind::Dict, 64));
        assert!(!may_be_behind(0, Kind::Dict, 64) && !may_be_behind(u64::MAX, Kind::Dict, 64));
    }
}
