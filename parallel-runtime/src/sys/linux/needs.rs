//! What functions may ask for in their attribute: everything.

/// Checks, where a function is compiled, that the system has what a key of its attribute needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __needs {
    ($need:ident) => {};
}
