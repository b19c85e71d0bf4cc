//! A library that another program loads: there is no executable that could be run again.

use parallel_runtime::{TaskError, parallel};

#[parallel(mode = "process", pool = 2)]
fn square(x: u32) -> u32 {
    x * x
}

/// 0 if the call fails with an error that names the reason.
#[unsafe(no_mangle)]
pub extern "C" fn parallel_test_plugin() -> i32 {
    match square::submit(3).join() {
        Err(TaskError::Spawn(error)) if error.to_string().contains("shared library") => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
        Ok(_) => 2,
    }
}
