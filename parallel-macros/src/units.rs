//! Durations and sizes in quotes.

/// `"250ms"`, `"5s"`, `"2m"`, in nanoseconds.
pub(crate) fn duration(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 6] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let nanoseconds = parse(text, &UNITS).ok_or_else(|| {
        format!(
            "`{text}` is not a duration: write a whole number and a unit, like \"250ms\", \"5s\" or \"2m\" (ns, us, ms, s, m, h), up to some 500 years"
        )
    })?;
    if nanoseconds == 0 {
        return Err("a duration of zero would end every task at once: leave the key out for no limit".to_owned());
    }
    Ok(nanoseconds)
}

/// `"512MiB"`, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] = [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let bytes = parse(text, &UNITS).ok_or_else(|| {
        format!("`{text}` is not a size: write a whole number and a unit, like \"512MiB\" or \"2GiB\" (B, KiB, MiB, GiB, TiB, kB, MB, GB)")
    })?;
    if bytes == 0 {
        return Err("no worker can run in zero bytes: leave the key out for no limit".to_owned());
    }
    Ok(bytes)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// The candidate most like `word`, if one is like it at all.
pub(crate) fn most_like<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let near = candidates.iter().map(|candidate| (distance(word, candidate), *candidate)).min();
    let part = || {
        candidates.iter().find(|candidate| word.len() > 2 && (candidate.contains(word) || word.contains(**candidate)))
    };
    match near {
        Some((distance, candidate)) if distance <= 2 => Some(candidate),
        _ => part().copied(),
    }
}

/// Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, substitutions, swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units() {
        assert_eq!(duration("250ms"), Ok(250_000_000));
        assert_eq!(duration("2 m"), Ok(120_000_000_000));
        assert_eq!(duration("3us"), duration("3000ns"));
        let sizes = ["7B", "7KiB", "7MiB", "7GiB", "7TiB", "7kB", "7MB", "7 GB"].map(|text| size(text).unwrap());
        assert_eq!(sizes, [7, 7168, 7_340_032, 7_516_192_768, 7_696_581_394_432, 7000, 7_000_000, 7_000_000_000]);
        for bad in ["", "5", "s", "5 parsecs", "-1s", "1.5s", "0s", "99999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["512", "MiB", "0B", "512mib"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slips_of_the_keyboard_are_recognised_and_other_words_are_not() {
        let keys = ["mode", "pool", "timeout", "max_tasks_per_worker"];
        assert_eq!(most_like("mdoe", &keys), Some("mode"));
        assert_eq!(most_like("pools", &keys), Some("pool"));
        assert_eq!(most_like("max_tasks", &keys), Some("max_tasks_per_worker"));
        assert_eq!(most_like("colour", &keys), None);
        assert_eq!(most_like("ta", &keys), None, "a part of two letters says nothing");
    }

    #[test]
    fn distances_count_insertions_deletions_substitutions_and_swaps() {
        let cases = [
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "xabc", 1),
            ("abc", "ac", 1),
            ("ab", "ba", 1),
            ("xab", "xba", 1),
            ("abxcd", "baxdc", 2),
            ("ab", "cd", 2),
            ("ab", "bc", 2),
            ("ab", "ca", 2),
            ("abcd", "cdab", 4),
            ("kitten", "sitting", 3),
        ];
        for (a, b, expected) in cases {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
