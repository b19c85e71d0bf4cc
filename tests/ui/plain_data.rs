use parallel_runtime::{SharedArray, SharedValue, SharedVec, parallel};

struct Point {
    x: f64,
}

#[parallel(mode = "process")]
fn count(texts: SharedVec<String>) -> usize {
    texts.len()
}

fn main() {
    let _ = SharedVec::<Point>::zeroed(10);
    let _ = SharedArray::<String>::new(10);
    let text = SharedValue::new(String::new());
    text.set(String::new());
    let _ = count;
    let _ = Point { x: 0.0 }.x;
}
