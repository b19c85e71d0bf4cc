use parallel_runtime::{ProcessPool, ThreadPool, parallel};

static THREADS: ThreadPool = ThreadPool::new(2);
static PROCESSES: ProcessPool = ProcessPool::new(2);

fn prepare() {}

#[parallel(mode = "process", pool = PROCESSES, max_tasks_per_worker = 5, memory_limit = "1GiB", init = prepare)]
fn processes(x: u32) -> u32 {
    x
}

#[parallel(pool = THREADS, init = prepare)]
fn threads(x: u32) -> u32 {
    x
}

#[parallel(mode = "process", pool = PROCESSES, timeout = "1s", retries = 2)]
fn of_the_call(x: u32) -> u32 {
    x
}

#[parallel(mode = "process", sandbox = "loose")]
fn loose(x: u32) -> u32 {
    x
}

#[parallel(sandbox = "strict")]
fn thread_in_a_sandbox(x: u32) -> u32 {
    x
}

fn main() {}
