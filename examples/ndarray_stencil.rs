//! Heat that spreads over a plate: each worker computes some rows of the next step in place, from all rows of the last.
//!
//! ```sh
//! cargo run --release --features ndarray --example ndarray_stencil
//! ```

use std::time::Instant;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use parallel_runtime::{SharedArray2, SharedNdArray, parallel};

/// Computes the rows of `next` from `first` on.
#[parallel(mode = "process", pool = 2)]
fn step(now: ArrayView2<'_, f64>, mut next: ArrayViewMut2<'_, f64>, first: usize) -> f64 {
    let (rows, columns) = now.dim();
    let mut change: f64 = 0.0;
    for (offset, mut row) in next.outer_iter_mut().enumerate() {
        let y = first + offset;
        for x in 0..columns {
            let old = now[[y, x]];
            let edge = y == 0 || x == 0 || y + 1 == rows || x + 1 == columns;
            let around = |y: usize, x: usize| now[[y - 1, x]] + now[[y + 1, x]] + now[[y, x - 1]] + now[[y, x + 1]];
            row[x] = if edge { old } else { 0.25 * around(y, x) };
            change = change.max((row[x] - old).abs());
        }
    }
    change
}

const SIZE: usize = 1000;
const PART: usize = 125;

/// So many steps, each by `run`, which gives the largest change.
fn spread(steps: usize, run: fn(ArrayView2<'_, f64>, ArrayViewMut2<'_, f64>) -> f64) -> (SharedArray2<f64>, f64) {
    // One edge is hot.
    let heat = |(y, _): (usize, usize)| if y == 0 { 100.0 } else { 0.0 };
    let mut now = SharedNdArray::from_shape_fn((SIZE, SIZE), heat);
    let mut next = SharedNdArray::zeros((SIZE, SIZE));
    let mut change = 0.0;
    for _ in 0..steps {
        change = run(now.view(), next.view_mut());
        std::mem::swap(&mut now, &mut next);
    }
    (now, change)
}

fn main() {
    let begun = Instant::now();
    let (serial, _) = spread(100, |now, next| step::inline(now, next, 0));
    let in_place = begun.elapsed();
    let begun = Instant::now();
    let (parallel, change) = spread(100, |now, mut next| {
        let parts = next.axis_chunks_iter_mut(Axis(0), PART).enumerate();
        let changes = step::map(parts.map(|(part, rows)| (now, rows, part * PART)));
        changes.into_iter().fold(0.0, f64::max)
    });
    println!("100 steps of {SIZE} × {SIZE}: serial {in_place:.1?}, two workers {:.1?}", begun.elapsed());
    println!(
        "largest change of the last step {change:.4}; in the middle of the third row {:.3}",
        parallel.view()[[2, SIZE / 2]]
    );
    assert_eq!(serial.view(), parallel.view(), "the same, to the last bit");
}
