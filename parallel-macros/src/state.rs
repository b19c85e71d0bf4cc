//! What the worker keeps for a function: the parameter that is marked with `#[worker]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{FnArg, Type};

use crate::options::{Errors, Mode, Options};
use crate::source::{Source, ungrouped};

/// What the worker keeps for a function.
pub(crate) struct State {
    /// Where the parameter stands.
    position: usize,
    pub(crate) input: FnArg,
    /// The type of the value.
    pub(crate) ty: Type,
    /// Whether the function takes it by `&mut`.
    pub(crate) is_exclusive: bool,
}

impl State {
    /// Checks what a function says about it.
    pub(crate) fn read(source: &Source, options: &Options, errors: &mut Errors) -> Option<Self> {
        let kept = source.kept.first()?;
        for second in source.kept.iter().skip(1) {
            errors.at(second.mark, "a function has at most one `#[worker]` parameter: put both values into one struct");
        }
        let FnArg::Typed(input) = &kept.input else {
            errors.at(kept.mark, "`self` crosses as an argument does: a `#[worker]` parameter is one of the others");
            return None;
        };
        let Some((ty, is_exclusive)) = kept.referent() else {
            errors.at(
                input.ty.span(),
                "a `#[worker]` parameter is a reference, `&T` or `&mut T`: the worker keeps the value",
            );
            return None;
        };
        if let Type::Reference(reference) = ungrouped(&input.ty)
            && let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_")
        {
            errors.at(
                lifetime.span(),
                "what a worker keeps is lent for one call only: write `&T` or `&mut T` without a lifetime",
            );
        }
        if is_exclusive && source.signature.asyncness.is_some() {
            let message = "many bodies of an `async fn` run at a time on one worker, and share what it keeps: take `&T`, with a `Mutex` in it for what changes";
            errors.at(input.ty.span(), message);
        }
        if options.mode == Mode::Serial && options.state.is_none() {
            errors.at(
                kept.mark,
                "`mode = \"serial\"` has no pool whose workers could keep this: say how it is made, `state = path`",
            );
        }
        Some(Self { position: kept.position, input: kept.input.clone(), ty: ty.clone(), is_exclusive })
    }

    /// What makes it, as an `Option`.
    pub(crate) fn maker(&self, options: &Options) -> TokenStream {
        let ty = &self.ty;
        match &options.state {
            Some(path) => quote!(::core::option::Option::Some(#path)),
            None => quote!(::core::option::Option::None::<fn() -> #ty>),
        }
    }

    /// All arguments of the function that has the body.
    pub(crate) fn among(&self, arguments: &[TokenStream], state: TokenStream) -> Vec<TokenStream> {
        let mut all = arguments.to_vec();
        all.insert(self.position.min(all.len()), state);
        all
    }
}
