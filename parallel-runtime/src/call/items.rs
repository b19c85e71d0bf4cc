//! What the verbs over many items take.

/// Items for a function: anything to iterate over that gives items of this type. It is another name for `IntoIterator<Item = T>`, by which the compiler
/// can say what to write where the items are of another type.
///
/// ```
/// use parallel_runtime::{IntoItems, parallel};
///
/// #[parallel]
/// fn length(text: String) -> usize {
///     text.len()
/// }
///
/// fn lengths(texts: impl IntoItems<String>) -> Vec<usize> {
///     length::map(texts)
/// }
///
/// assert_eq!(lengths(["a", "bc"].map(String::from)), [1, 2]);
/// ```
#[diagnostic::on_unimplemented(
    message = "these are not items of the function: an item is a `{T}`",
    label = "this is no iterator or collection of `{T}`",
    note = "of a collection that is borrowed, `.iter().copied()` or `.iter().cloned()` gives items by value; `.into_iter()` gives those of one that is owned",
    note = "`.iter().map(PathBuf::as_path)` gives items for `&Path`, `.iter().map(String::as_str)` for `&str`",
    note = "`.map(String::from)` makes a `String` of each `&str`; `.map(|(a, b)| (&a[..], *b))` makes what a function of several parameters takes"
)]
pub trait IntoItems<T>: IntoIterator<Item = T> {}

#[diagnostic::do_not_recommend]
impl<T, I: IntoIterator<Item = T>> IntoItems<T> for I {}
