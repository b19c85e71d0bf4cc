use parallel_runtime::parallel;

#[parallel]
fn longest<'w>(words: &'w [String]) -> &'w str {
    &words[0]
}

fn main() {
    longest::submit(vec![String::new()]);
}
