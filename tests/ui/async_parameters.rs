//! What an `async fn` cannot take, and where it cannot stand.

use parallel_runtime::parallel;

#[parallel]
async fn borrows(text: &str, numbers: &mut [u64]) -> usize {
    text.len() + numbers.len()
}

struct Crawler;

#[parallel]
impl Crawler {
    #[parallel]
    async fn fetch(&self, url: String) -> usize {
        url.len()
    }
}

fn main() {}
