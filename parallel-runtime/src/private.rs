//! The only door for generated code: everything that the expansion of `#[parallel]` may touch. No part of it is stable.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::codec::strategy::{Probe, Returned, ViaBytes, ViaReferent, ViaReferentMut, ViaSerde};
pub use crate::codec::{CodecError, Reader, Writer};
pub use crate::function::{
    Body, ByMut, ByRef, ByValue, Detached, IntoOwned, Lend, LendMut, One, Outlet, ProcessOwnedFn, Remote, ServeError,
    detached, detached_body,
};
pub use crate::options::{Mode, Spec};
pub use crate::task::drive::{awaited, drive};

/// What `sandbox = "strict"` stands for.
#[cfg(feature = "sandbox")]
pub const fn strict() -> crate::sandbox::Sandbox {
    crate::sandbox::Sandbox::strict()
}

/// Without the feature, the evaluation of the function's `Spec` fails with this text.
#[cfg(not(feature = "sandbox"))]
pub const fn strict() -> crate::sandbox::Sandbox {
    panic!(
        "`sandbox` needs the feature of that name: `parallel-runtime = {{ version = \"...\", features = [\"sandbox\"] }}`"
    )
}

/// A value that can cross a process border.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to a worker process",
    label = "not serialisable",
    note = "parameters and results of a `mode = \"process\"` function implement serde's `Serialize` and `Deserialize`, and own their data (or are `&T`, `&str`, `&[T]`, `&mut [T]` parameters)",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`, or use `mode = \"thread\"`",
    note = "elements of a `SharedVec`, `SharedSlice`, `SharedArray` or `SharedValue` are plain data (`bytemuck::Pod`); those of a `SharedList`, `SharedDict` or `SharedQueue` are of any serialisable type",
    note = "a generic parameter is bounded by `serde::Serialize + serde::de::DeserializeOwned + Send + 'static`"
)]
pub trait ProcessValue: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ProcessValue for T {}

/// What can stand behind a reference that crosses a process border.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` cannot cross to a worker process",
    label = "not serialisable",
    note = "behind a reference, a `mode = \"process\"` function takes serde's `Serialize` and `Deserialize` types, `str`, `Path`, `OsStr`, `CStr`, and slices of plain (`bytemuck::Pod`) or serialisable elements",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`, or use `mode = \"thread\"`"
)]
#[expect(missing_docs, reason = "see `codec::strategy`")]
pub trait ProcessReferent {
    type Held;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError>;
    fn receive(reader: &mut Reader<'_>) -> Result<Self::Held, CodecError>;
    fn lend(held: &Self::Held) -> &Self;
}

/// What can stand behind an exclusive reference that crosses a process border.
#[diagnostic::on_unimplemented(
    message = "`&mut {Self}` cannot cross to a worker process",
    label = "not serialisable, or not of a fixed size",
    note = "behind a `&mut`, a `mode = \"process\"` function takes serde's `Serialize` and `Deserialize` types, and slices of plain (`bytemuck::Pod`) or serialisable elements"
)]
#[expect(missing_docs, reason = "see `codec::strategy`")]
pub trait ProcessReferentMut: ProcessReferent {
    fn lend_mut(held: &mut Self::Held) -> &mut Self;
    fn assign(&mut self, held: Self::Held) -> Result<(), CodecError>;
}
