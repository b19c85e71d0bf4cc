//! How each kind of parameter travels.
//!
//! Generated code asks `(&Probe::<ByRef<[f64]>>::new()).pass_mode()` and gets the best pass mode that the type allows: the
//! bytes of plain data (numbers, text, paths, and vectors, arrays and slices of numbers), or serde for everything else. The choice is made by method resolution (a method of
//! `Probe<_>` is found before one of `&Probe<_>`), because it has to depend on the element type of the *user's* function and
//! stable Rust has no specialisation.
//!
//! A pass mode has these methods, the later ones only where they make sense:
//!
//! | method | where | what |
//! | --- | --- | --- |
//! | `send` | program | encodes the argument |
//! | `receive` | worker | decodes it, or finds it in place |
//! | `lend`, `lend_mut` | worker | the reference that the function takes |
//! | `give_back` | worker | encodes what the function changed, unless it changed it in place |
//! | `take_back` | program | copies what was changed into the caller's memory |

mod choices;
mod modes;
mod probe;
mod returned;

pub use probe::{
    Probe, ViaBytes, ViaErrors, ViaIoErrors, ViaNames, ViaReferent, ViaReferentMut, ViaSerde, ViaSharedReferent,
};
pub(crate) use returned::Changed;
pub use returned::Returned;
