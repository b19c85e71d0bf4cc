//! Sizes of memory in variables of the environment.

/// A size in bytes: `4096`, `64MiB`. `None` for anything else, and for what is more than 64 bits hold.
pub(crate) fn bytes_of(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024_and_nothing_else() {
        assert_eq!(["7", "7 B", "64MiB", "1 TiB"].map(bytes_of), [Some(7), Some(7), Some(64 << 20), Some(1 << 40)]);
        assert_eq!(["", "MiB", "1MB", "-1", "99999999TiB", "1 MiB x"].map(bytes_of), [None; 6]);
    }
}
