use parallel_runtime::parallel;

#[parallel(mode = "proces")]
fn mode(x: u32) -> u32 {
    x
}

#[parallel(mode = process)]
fn mode_without_quotes(x: u32) -> u32 {
    x
}

#[parallel(pool = "4")]
fn pool_in_quotes(x: u32) -> u32 {
    x
}

#[parallel(pool = -4)]
fn negative_pool(x: u32) -> u32 {
    x
}

#[parallel(pool = 5000, mode = "process")]
fn enormous_pool(x: u32) -> u32 {
    x
}

#[parallel(timeout = 5)]
fn timeout_without_unit(x: u32) -> u32 {
    x
}

#[parallel(timeout = "5 parsecs")]
fn timeout_in_odd_units(x: u32) -> u32 {
    x
}

#[parallel(mode = "process", memory_limit = "lots")]
fn size(x: u32) -> u32 {
    x
}

#[parallel(chunk = 0)]
fn empty_chunks(x: u32) -> u32 {
    x
}

#[parallel(mode = "process", retries = "three")]
fn retries(x: u32) -> u32 {
    x
}

#[parallel(init = || ())]
fn init(x: u32) -> u32 {
    x
}

#[parallel(mode)]
fn no_value(x: u32) -> u32 {
    x
}

#[parallel(pool = 2, pool = 3)]
fn twice(x: u32) -> u32 {
    x
}

fn main() {}
