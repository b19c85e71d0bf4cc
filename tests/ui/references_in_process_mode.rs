use std::borrow::Cow;

use parallel_runtime::parallel;

#[parallel(mode = "process")]
fn returned(text: &str) -> &str {
    text
}

#[parallel(mode = "process")]
fn returned_inside(text: &str) -> Option<&'static str> {
    text.is_empty().then_some("")
}

#[parallel(mode = "process")]
fn returned_by_name<'a>(text: &'a str) -> Cow<'a, str> {
    text.into()
}

#[parallel(mode = "process")]
fn nested(texts: &[&str]) -> usize {
    texts.len()
}

#[parallel(mode = "process")]
fn object(check: &(dyn Fn(u32) -> bool + Sync)) -> bool {
    check(1)
}

fn main() {}
