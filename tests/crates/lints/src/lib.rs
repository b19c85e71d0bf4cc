//! A crate that denies what it can deny. What the expansion of the attribute adds must not add a warning that the author of the function cannot
//! switch off: this is checked by compiling it, and by clippy.
#![deny(warnings, missing_docs, unused, unreachable_pub, missing_debug_implementations, missing_copy_implementations)]
#![deny(unsafe_code, non_camel_case_types, unused_qualifications, unused_results, single_use_lifetimes)]
#![deny(elided_lifetimes_in_paths, trivial_casts, trivial_numeric_casts, unused_lifetimes, let_underscore_drop)]
#![deny(variant_size_differences, private_bounds, private_interfaces, unnameable_types, redundant_lifetimes)]
#![deny(unit_bindings, explicit_outlives_requirements, unused_import_braces, meta_variable_misuse, redundant_imports)]
#![deny(rust_2018_idioms, keyword_idents, unused_extern_crates, unused_macro_rules, deprecated)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_docs_in_private_items)]
#![deny(clippy::allow_attributes, clippy::same_name_method, clippy::partial_pub_fields, clippy::shadow_reuse)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::default_numeric_fallback, clippy::pattern_type_mismatch)]
#![deny(clippy::field_scoped_visibility_modifiers, clippy::shadow_same, clippy::ref_patterns, clippy::pub_use)]
#![deny(clippy::unused_trait_names, clippy::std_instead_of_core, clippy::semicolon_outside_block)]
#![deny(clippy::let_underscore_untyped, clippy::let_underscore_must_use, clippy::disallowed_names)]
#![deny(clippy::absolute_paths, clippy::question_mark_used, clippy::min_ident_chars, clippy::single_call_fn)]
#![deny(clippy::multiple_inherent_impl, clippy::exhaustive_structs, clippy::arbitrary_source_item_ordering)]

use parallel_runtime::parallel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Weighs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Model {
    /// How much.
    pub weight: u64,
}

#[parallel]
impl Model {
    /// Predicts.
    #[parallel(mode = "process", pool = 1)]
    #[must_use]
    pub fn predict(&self, input: u64) -> u64 {
        self.weight.wrapping_mul(input)
    }
}

/// Is not public.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Private {
    /// A number.
    number: u64,
}

/// Of a private type.
#[parallel(mode = "process", pool = 1)]
pub(crate) fn double(private: Private) -> u64 {
    private.number.wrapping_mul(2)
}

/// Generic.
///
/// # Errors
///
/// Never.
#[parallel(mode = "process", pool = 1)]
pub fn generic<Kind: Serialize + DeserializeOwned + Send + 'static>(value: Kind) -> Result<Kind, String> {
    Ok(value)
}

/// An `async fn` with references.
#[must_use]
#[parallel(mode = "process")]
pub async fn later_of(text: &str, numbers: &[u64]) -> usize {
    text.len() + numbers.len()
}

/// An `async fn`.
#[parallel(mode = "process", pool = 1)]
#[expect(clippy::unused_async, reason = "it is a test")]
pub async fn later(text: String) -> usize {
    text.len()
}

/// With many arguments.
#[parallel(mode = "process", pool = 1)]
#[must_use]
#[expect(clippy::too_many_arguments, reason = "it is a test")]
pub fn many(one: u64, two: u64, three: u64, four: u64, five: u64, six: u64, seven: u64, eight: u64) -> u64 {
    one ^ two ^ three ^ four ^ five ^ six ^ seven ^ eight
}

/// Not to be used any more.
#[deprecated]
#[parallel(mode = "process", pool = 1)]
#[must_use]
pub fn old(value: u64) -> u64 {
    value.wrapping_add(1)
}

/// Used by a verb only.
#[parallel(mode = "process", pool = 1)]
fn private(value: u64) -> u64 {
    value.wrapping_add(1)
}

/// Keeps something.
#[parallel(mode = "process", pool = 1, state = String::new)]
pub fn remember(#[worker] text: &mut String, word: &str) -> usize {
    text.push_str(word);
    text.len()
}

/// Squares.
#[parallel(mode = "process", pool = 1)]
#[must_use]
pub fn square(value: u64) -> u64 {
    value.wrapping_mul(value)
}

/// On a thread.
#[parallel(pool = 1)]
#[must_use]
pub fn threaded<'text>(left: &'text str, _right: &'text str) -> &'text str {
    left
}

/// Of a slice.
#[parallel(mode = "process", pool = 1)]
#[must_use]
pub fn total(numbers: &[u64], text: &str) -> usize {
    numbers.len().saturating_add(text.len())
}

/// In place.
#[parallel(mode = "process", pool = 1)]
pub fn twice(numbers: &mut [u64]) {
    for number in numbers {
        *number = number.wrapping_mul(2);
    }
}

/// Uses what is private.
#[must_use]
pub fn user() -> Vec<u64> {
    let mut all = private::map([1_u64, 2]);
    all.extend(double::map([Private { number: 3 }]));
    all
}
