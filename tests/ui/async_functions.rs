//! Mistakes with `async fn`s.

use std::rc::Rc;

use parallel_runtime::parallel;

async fn wait() {}

#[parallel(mode = "process")]
async fn keeps_what_cannot_move(x: u64) -> u64 {
    let kept = Rc::new(x);
    wait().await;
    *kept
}

struct Crawler;

fn main() {
    let _ = keeps_what_cannot_move::submit(1);
    let _ = Crawler;
}
