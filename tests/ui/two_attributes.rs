use parallel_runtime::parallel;

#[parallel(pool = 2)]
#[parallel(mode = "process")]
fn twice(x: u32) -> u32 {
    x
}

fn main() {}
