use parallel_runtime::parallel;

struct Plain {
    number: u32,
}

#[parallel(mode = "process")]
fn parameter(value: Plain) -> u32 {
    value.number
}

#[parallel(mode = "process")]
fn borrowed(value: &Plain) -> u32 {
    value.number
}

#[parallel(mode = "process")]
fn exclusive(values: &mut [Plain]) -> u32 {
    values[0].number
}

#[parallel(mode = "process")]
fn result(number: u32) -> Vec<Plain> {
    vec![Plain { number }]
}

fn main() {}
