use parallel_runtime::parallel;

#[parallel(memory_limit = "1GiB")]
fn memory(x: u32) -> u32 {
    x
}

#[parallel(mode = "serial", pool = 4)]
fn pool(x: u32) -> u32 {
    x
}

#[parallel(mode = "thread", retries = 2, max_tasks_per_worker = 3)]
fn two_at_once(x: u32) -> u32 {
    x
}

fn main() {}
