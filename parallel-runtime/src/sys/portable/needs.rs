//! What functions may ask for in their attribute.

/// Checks, where a function is compiled, that the system has what a key of its attribute needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __needs {
    (processes) => {};
    (memory_limit) => {
        ::core::compile_error!(
            "`memory_limit` needs Linux: leave it out, or say both, `#[cfg_attr(target_os = \"linux\", parallel(mode = \"process\", memory_limit = \"...\"))]` and `#[cfg_attr(not(target_os = \"linux\"), parallel(mode = \"process\"))]`"
        );
    };
    (sandbox) => {
        ::core::compile_error!(
            "`sandbox` needs Linux, whose Landlock and seccomp confine the workers: if the input can be trusted elsewhere, say both, `#[cfg_attr(target_os = \"linux\", parallel(mode = \"process\", sandbox = \"strict\"))]` and `#[cfg_attr(not(target_os = \"linux\"), parallel(mode = \"process\"))]`"
        );
    };
}
