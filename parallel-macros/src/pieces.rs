//! Pieces of what is written, which several of its parts need.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Generics, Lifetime, Type};

use crate::function::Function;
use crate::lifetimes::Found;
use crate::options::Options;
use crate::parameter::{Kind, Parameter, may_borrow};

/// `()`, `a`, or `(a, b)`.
pub(crate) fn tuple(parts: &[TokenStream]) -> TokenStream {
    match parts {
        [one] => one.clone(),
        parts => quote!((#(#parts),*)),
    }
}

pub(crate) fn item(function: &Function) -> TokenStream {
    let types: Vec<TokenStream> = function
        .parameters
        .iter()
        .map(|parameter| {
            let ty = &parameter.ty;
            quote!(#ty)
        })
        .collect();
    tuple(&types)
}

/// Variables for the arguments: never the user's names, which may be anything.
pub(crate) fn variables(parameters: &[Parameter]) -> Vec<Ident> {
    (0..parameters.len()).map(|position| quote::format_ident!("__argument_{position}")).collect()
}

pub(crate) fn pattern(parameters: &[Parameter]) -> TokenStream {
    let names: Vec<TokenStream> = variables(parameters).iter().map(|name| quote!(#name)).collect();
    tuple(&names)
}

/// The type that names the kinds of all parameters.
pub(crate) fn markers(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let markers: Vec<TokenStream> = function.parameters.iter().map(|parameter| parameter.marker(runtime)).collect();
    match markers.as_slice() {
        [one] => quote!(#runtime::private::One<#one>),
        many => quote!((#(#many),*)),
    }
}

/// What a generic function must fulfil so that its calls can outlive the expression that makes them.
pub(crate) fn owned_predicates(function: &Function, options: &Options) -> Vec<TokenStream> {
    let Function { generics, parameters, output, .. } = function;
    let runtime = &options.runtime;
    let mut predicates: Vec<TokenStream> = Vec::new();
    if !function.is_generic() {
        return predicates;
    }
    if may_borrow(quote!(#output), generics) {
        predicates.push(quote!(#output: 'static));
    }
    // Said of the lifetimes, too: of a type alone the compiler concludes nothing for them.
    let mut lifetimes: Vec<&Lifetime> = Vec::new();
    for parameter in parameters {
        lifetimes.extend(Found::of(parameter.referent()).lifetimes);
    }
    lifetimes.retain(|lifetime| lifetime.ident != "static" && lifetime.ident != "_");
    lifetimes.sort();
    lifetimes.dedup();
    predicates.extend(lifetimes.into_iter().map(|lifetime| quote!(#lifetime: 'static)));
    for parameter in parameters {
        let (referent, owned) = (parameter.referent(), parameter.owned(runtime));
        if parameter.kind() != Kind::Value && is_bare_parameter(referent, generics) {
            let lend = if parameter.kind() == Kind::Mut { quote!(LendMut) } else { quote!(Lend) };
            predicates.push(quote!(#referent: #runtime::private::#lend));
        }
        if may_borrow(quote!(#referent), generics) {
            predicates.push(quote!(#owned: ::core::marker::Send + 'static));
        }
    }
    predicates
}

/// Whether a type is just one of the function's own type parameters.
fn is_bare_parameter(ty: &Type, generics: &Generics) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.get_ident().is_some_and(|ident| generics.type_params().any(|parameter| parameter.ident == *ident))
}
