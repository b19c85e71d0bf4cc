//! The functions that are measured.

use std::hint::black_box;

use parallel_runtime::parallel;

/// The least that a function can do.
#[parallel(pool = 2, mode = "process")]
pub fn next(x: u64) -> u64 {
    x + 1
}

/// The same on threads.
#[parallel(pool = 2)]
pub fn next_on_threads(x: u64) -> u64 {
    x + 1
}

/// One hundred increments that the compiler cannot fold: about 30 ns.
/// It is never inlined, so that its loop lies at the same place of a cache line for all that are compared.
#[inline(never)]
pub fn increments(mut x: u64) -> u64 {
    for _ in 0..100 {
        x = black_box(x + 1);
    }
    x
}

/// In worker processes.
#[parallel(pool = 2, mode = "process")]
pub fn increments_in_processes(x: u64) -> u64 {
    increments(x)
}

/// On threads.
#[parallel(pool = 2)]
pub fn increments_on_threads(x: u64) -> u64 {
    increments(x)
}

/// Some work over a page: a kilobyte of result.
pub fn rendered(page: &[u8]) -> Vec<u8> {
    let mut out = vec![0_u8; 1024];
    for round in 0..12_u64 {
        for (index, byte) in page.iter().enumerate() {
            let at = (index as u64).wrapping_mul(0x9e37_79b9).wrapping_add(round) as usize % out.len();
            out[at] = out[at].wrapping_mul(31).wrapping_add(*byte);
        }
    }
    out
}

/// In worker processes.
#[parallel(pool = 2, mode = "process")]
pub fn render(page: &[u8]) -> Vec<u8> {
    rendered(page)
}

/// On threads.
#[parallel(pool = 2)]
pub fn render_on_threads(page: &[u8]) -> Vec<u8> {
    rendered(page)
}
