//! Text in JSON.

use std::io::{self, Write};

/// Writes a text as a string of JSON that may stand in a page.
pub(crate) fn write_text(text: &str, to: &mut dyn Write) -> io::Result<()> {
    to.write_all(b"\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(to, "\\{c}")?,
            '<' | '>' | '&' => write!(to, "\\u{:04x}", c as u32)?,
            c if c.is_control() => write!(to, "\\u{:04x}", c as u32)?,
            c => write!(to, "{c}")?,
        }
    }
    to.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_text_ends_the_page() {
        let mut written = Vec::new();
        super::write_text("a\"b\\c</script>\n", &mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "\"a\\\"b\\\\c\\u003c/script\\u003e\\u000a\"");
    }
}
