use parallel_runtime::parallel;

#[parallel]
fn square(x: u32) -> u32 {
    x * x
}

#[parallel(mode = "process")]
fn length(text: String) -> usize {
    text.len()
}

#[parallel]
fn count(text: &str, times: u32) -> usize {
    text.len() * times as usize
}

fn main() {
    let numbers = vec![1, 2, 3];
    square::map(&numbers);
    square::options().try_map(numbers.iter());
    length::map(["a"]);
    length::map_async(["a"]);
    length::imap(5);
    count::map(&[("a", 1)]);
}
