//! What functions may ask for in their attribute.

/// Checks, where a function is compiled, that the system has what a key of its attribute needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __needs {
    (processes) => {
        ::core::compile_error!(
            "worker processes need 64-bit Linux, macOS or FreeBSD: say both, `#[cfg_attr(unix, parallel(mode = \"process\"))]` and `#[cfg_attr(not(unix), parallel)]`, which runs on threads"
        );
    };
    // Told with the mode.
    ($need:ident) => {};
}
