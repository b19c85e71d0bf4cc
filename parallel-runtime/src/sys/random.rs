//! Tests with random bytes, for all that decodes what another process has written.

use std::time::Duration;

use arbtest::arbitrary::{Result, Unstructured};

/// Runs a test with random bytes, again and again for a fifth of a second, or for as many seconds as `FUZZ_SECONDS` says. When it fails,
/// the seed that is told repeats it.
pub(crate) fn with_random_bytes(test: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    arbtest::arbtest(test).budget(seconds.map_or(Duration::from_millis(200), Duration::from_secs)).run();
}

/// Bytes that were valid, with some of them changed, and perhaps cut off or longer.
pub(crate) fn damaged(random: &mut Unstructured<'_>, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    for _ in 0..random.int_in_range(0..=4)? {
        if let Some(last) = bytes.len().checked_sub(1) {
            let place = random.int_in_range(0..=last)?;
            bytes[place] = random.arbitrary()?;
        }
    }
    if random.ratio(1, 3)? {
        bytes.truncate(random.int_in_range(0..=bytes.len())?);
    }
    if random.ratio(1, 3)? {
        bytes.extend(random.arbitrary::<[u8; 9]>()?);
    }
    Ok(bytes)
}
