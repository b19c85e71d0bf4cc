use parallel_runtime::parallel;

#[parallel(mdoe = "process")]
fn misspelt(x: u32) -> u32 {
    x
}

#[parallel(colour = "red")]
fn unheard_of(x: u32) -> u32 {
    x
}

fn main() {
    // The functions themselves are still there.
    let _ = misspelt(unheard_of(1));
}
