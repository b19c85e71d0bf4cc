//! The only door for generated code: everything that the expansion of `#[parallel]` may touch. No part of it is stable.

pub use crate::call::{Detached, ProcessOwnedFn, Remote, RemoteOwned, awaited};
pub use crate::codec::{CodecError, Reader, Writer};
pub use crate::function::kept::{Shared, keep_state, shared_state, with_shared_state, with_state};
pub use crate::function::pass_mode::{
    Probe, Returned, ViaBytes, ViaErrors, ViaIoErrors, ViaNames, ViaReferent, ViaReferentMut, ViaSerde,
    ViaSharedReferent,
};
pub use crate::function::referents::{ProcessReferent, ProcessReferentMut, ProcessValue};
pub use crate::function::{
    ByCopy, ByMut, ByRef, BySharedRef, ByValue, CopyOut, IntoOwned, Lend, LendMut, One, ResultWriter, ServeError,
};
pub use crate::options::Mode;
pub use crate::pool::Spec;
pub use crate::wait::executor::drive;

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
