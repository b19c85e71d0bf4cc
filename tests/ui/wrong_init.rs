use parallel_runtime::parallel;

fn prepare(_: u32) {}

#[parallel(init = prepare)]
fn with_init(x: u32) -> u32 {
    x
}

fn main() {}
