//! A crate that depends on `parallel-runtime` under another name.

use workers::parallel;

/// In a worker process.
#[parallel(mode = "process", pool = 2, crate = "::workers")]
pub fn double(x: u64) -> u64 {
    2 * x
}

/// On threads, with every kind of parameter.
#[parallel(crate = "workers")]
pub fn measure(name: &str, values: &[f64], scaled: &mut [f64], factor: f64) -> usize {
    for (scaled, value) in scaled.iter_mut().zip(values) {
        *scaled = value * factor;
    }
    name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_found_under_another_name() {
        assert_eq!(double::map([1, 2, 3]), [2, 4, 6]);
        let mut scaled = [0.0; 2];
        assert_eq!(measure("abc", &[1.0, 2.0], &mut scaled, 2.0), 3);
        assert_eq!(scaled, [2.0, 4.0]);
    }
}
