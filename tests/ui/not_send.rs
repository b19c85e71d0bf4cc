use std::rc::Rc;

use parallel_runtime::parallel;

#[parallel]
fn shared(value: Rc<u32>) -> u32 {
    *value
}

#[parallel]
fn made(value: u32) -> Rc<u32> {
    Rc::new(value)
}

fn main() {}
