use parallel_runtime::parallel;

#[parallel]
fn hash(block: u64) -> u64 {
    block
}

fn main() {
    hash::options().progress("hashing").map(0..10);
}
