//! The user's attributes, and what lints look at.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::{Attribute, Meta};

/// The user's attributes, by where they go.
#[derive(Default)]
pub(crate) struct Attributes {
    /// On the function that callers see.
    pub(crate) outer: Vec<Attribute>,
    /// On the function that has the body.
    pub(crate) inner: Vec<Attribute>,
    /// On everything.
    pub(crate) cfgs: Vec<Attribute>,
    /// On all functions with the signature of the user's.
    pub(crate) lints: Vec<Attribute>,
}

impl Attributes {
    pub(crate) fn sort(attributes: &[Attribute]) -> Self {
        let mut sorted = Self::default();
        for attribute in attributes {
            let name = attribute.path().get_ident().map(Ident::to_string).unwrap_or_default();
            match name.as_str() {
                "cfg" => sorted.cfgs.push(attribute.clone()),
                "allow" | "warn" | "deny" | "forbid" | "must_use" => {
                    sorted.outer.push(attribute.clone());
                    sorted.inner.push(attribute.clone());
                    sorted.lints.push(attribute.clone());
                }
                // Whether what is expected happens depends on which of the functions the lint looks at.
                "expect" => {
                    let mut allowed = attribute.clone();
                    if let Meta::List(list) = &mut allowed.meta {
                        list.path = syn::parse_quote!(allow);
                    }
                    sorted.lints.push(allowed.clone());
                    sorted.outer.push(allowed.clone());
                    sorted.inner.push(allowed);
                }
                "inline" | "cold" | "optimize" | "target_feature" => sorted.inner.push(attribute.clone()),
                // The caller's place is that of the runtime there.
                "track_caller" => {}
                _ => sorted.outer.push(attribute.clone()),
            }
        }
        sorted
    }
}

/// Tokens of the user's at the edges of what is generated. Lints that are about a whole function look at where it begins and ends: this one is not what its
/// callers see, so that it is no `const fn`, or has no documentation, is not for its author to mend.
pub(crate) fn as_generated(tokens: impl ToTokens) -> TokenStream {
    let respanned = tokens.to_token_stream().into_iter().map(|mut token| {
        token.set_span(Span::call_site().located_at(token.span()));
        token
    });
    respanned.collect()
}
