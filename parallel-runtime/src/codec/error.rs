//! Why a value cannot cross.

use std::fmt::{self, Write};

/// Why a value could not be encoded or decoded. The text is for people: it names the place in the value, if that is known, as in
/// `` `Config.servers[3].name` ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    message: String,
    /// From the inside out.
    place: Vec<Step>,
    /// The type of the whole value.
    value: Option<String>,
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Element(usize),
    /// Instead of many.
    Others,
}

/// So many steps are told at most, half of them from each end.
const MOST_STEPS: usize = 12;

impl CodecError {
    #[cold]
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self::of_text(message.to_string())
    }

    fn of_text(message: String) -> Self {
        Self(Box::new(Inner { message, place: Vec::new(), value: None }))
    }

    #[cold]
    pub(crate) fn end_of_data() -> Self {
        Self::mismatch("the data ended before the value did")
    }

    /// The bytes are not those of the type.
    #[cold]
    pub(crate) fn mismatch(what: impl fmt::Display) -> Self {
        Self::new(format_args!("{what}; do `Serialize` and `Deserialize` of its type agree?"))
    }

    fn step(mut self, step: Step) -> Self {
        let place = &mut self.0.place;
        place.push(step);
        if place.len() > MOST_STEPS {
            place.remove(MOST_STEPS / 2);
            place[MOST_STEPS / 2] = Step::Others;
        }
        self
    }

    /// It is about this field of the value around it.
    #[cold]
    pub(super) fn in_field(self, name: &'static str) -> Self {
        self.step(Step::Field(name))
    }

    /// It is about this element of the value around it.
    #[cold]
    pub(super) fn in_element(self, index: usize) -> Self {
        self.step(Step::Element(index))
    }

    /// It is about a value of this type.
    #[cold]
    pub(super) fn in_value(mut self, type_name: &str) -> Self {
        if self.0.value.is_none() {
            self.0.value = Some(short_name(type_name));
        }
        self
    }
}

/// The name of a type without the modules that it stands in.
pub(crate) fn short_name(name: &str) -> String {
    let mut short = String::new();
    let mut rest = name;
    while let Some(end) = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':') {
        let (path, after) = rest.split_at(end);
        short.push_str(path.rsplit("::").next().unwrap_or(path));
        let next = after.chars().next().map_or(0, char::len_utf8);
        short.push_str(&after[..next]);
        rest = &after[next..];
    }
    short + rest.rsplit("::").next().unwrap_or(rest)
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, place, value } = &*self.0;
        if place.is_empty() && value.is_none() {
            return f.write_str(message);
        }
        f.write_char('`')?;
        if let Some(value) = value {
            f.write_str(value)?;
        }
        for (index, step) in place.iter().rev().enumerate() {
            match step {
                Step::Field(name) if index == 0 && value.is_none() => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Element(index) => write!(f, "[{index}]")?,
                Step::Others => f.write_str("…")?,
            }
        }
        write!(f, "`: {message}")
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of_text(message.to_string())
    }
}

impl serde::de::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of_text(message.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_named_without_its_modules() {
        assert_eq!(short_name(std::any::type_name::<Vec<Option<String>>>()), "Vec<Option<String>>");
        assert_eq!(
            short_name(std::any::type_name::<(CodecError, [std::path::PathBuf; 2])>()),
            "(CodecError, [PathBuf; 2])"
        );
        assert_eq!(short_name("str"), "str");
    }

    #[test]
    fn an_error_says_where_in_the_value_it_is() {
        let inner = || CodecError::new("no");
        assert_eq!(inner().to_string(), "no");
        assert_eq!(inner().in_value("a::B").to_string(), "`B`: no");
        let error = inner().in_field("name").in_element(3).in_field("servers");
        assert_eq!(error.clone().to_string(), "`servers[3].name`: no");
        assert_eq!(error.in_value("a::Config").to_string(), "`Config.servers[3].name`: no");
        let deep = (0..1000).fold(inner(), |error, _| error.in_field("next")).to_string();
        assert!(deep.contains("next…") && deep.len() < 100, "{deep}");
    }
}
