//! What a worker does at its orderly end.

use parallel_runtime::{ProcessPool, parallel};

/// Says that it is dropped.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        println!("state dropped");
    }
}

extern "C" fn at_exit() {
    // SAFETY: `puts` is given a string that ends in a zero.
    unsafe { libc::puts(c"exit handler".as_ptr()) };
}

#[parallel(mode = "process", state = make)]
fn print(#[worker] _loud: &Loud) {
    print!("without a line's end; ");
    // SAFETY: `printf` is given a string that ends in a zero, and asks for no more.
    unsafe { libc::printf(c"of C, ".as_ptr()) };
}

fn make() -> Loud {
    // SAFETY: the function is one of this executable's, which is never unloaded.
    unsafe { libc::atexit(at_exit) };
    Loud
}

/// Prints what a worker prints at the end of a pool, and at the end of the program.
pub(crate) fn run() {
    let pool = ProcessPool::new(1);
    print::on(&pool).call(());
    pool.shutdown();
    println!("shut down");
    static POOL: ProcessPool = ProcessPool::new(1);
    print::on(&POOL).call(());
}
