use parallel_runtime::{ProcessPool, ThreadPool, parallel};

static THREADS: ThreadPool = ThreadPool::new(2);
static PROCESSES: ProcessPool = ProcessPool::new(2);

#[parallel(mode = "process", pool = THREADS)]
fn processes(x: u32) -> u32 {
    x
}

#[parallel(pool = PROCESSES)]
fn threads(x: u32) -> u32 {
    x
}

#[parallel]
fn not_for_processes(x: u32) -> u32 {
    x
}

fn main() {
    not_for_processes::on(&PROCESSES).call(1);
}
