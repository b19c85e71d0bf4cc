use parallel_runtime::{SharedValue, shared};

#[shared]
fn not_a_static() {}

#[shared]
static mut COUNTER: SharedValue<u64> = SharedValue::new(0);

#[shared]
static NUMBER: u64 = 0;

#[shared(size = 3)]
static WITH_A_KEY: SharedValue<u64> = SharedValue::new(0);

fn main() {}
