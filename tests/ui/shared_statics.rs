use parallel_runtime::shared;

#[shared]
static NUMBER: u64 = 0;

fn main() {}
