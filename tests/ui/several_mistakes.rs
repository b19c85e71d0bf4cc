use parallel_runtime::parallel;

#[parallel(mdoe = "process", pool = "four", timeout = "soon")]
unsafe fn everything(x: impl Copy) -> u32 {
    0
}

fn main() {}
