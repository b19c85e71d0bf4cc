//! A function as it stands in the source.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Attribute, FnArg, Meta, Signature, Type, Visibility};

use crate::lifetimes::{Show, Ungroup};

/// A function as it stands in the source. Its body stays a token tree: nothing needs to know what is in it.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// Without the parameters that are marked with `#[worker]`.
    pub(crate) signature: Signature,
    /// Those.
    pub(crate) kept: Vec<Kept>,
    pub(crate) body: TokenTree,
}

/// A parameter marked with `#[worker]`: what the worker keeps between tasks. Callers do not see it.
#[derive(Clone)]
pub(crate) struct Kept {
    /// Where it stands among the others.
    pub(crate) position: usize,
    /// Without the mark.
    pub(crate) input: FnArg,
    /// The mark.
    pub(crate) mark: Span,
}

impl Kept {
    /// Takes them out of a signature.
    fn take(signature: &mut Signature) -> Vec<Self> {
        let mut kept = Vec::new();
        let inputs = std::mem::take(&mut signature.inputs);
        for (position, mut input) in inputs.into_iter().enumerate() {
            let attributes = match &mut input {
                FnArg::Typed(input) => &mut input.attrs,
                FnArg::Receiver(receiver) => &mut receiver.attrs,
            };
            match attributes.iter().position(|attribute| attribute.path().is_ident("worker")) {
                Some(mark) => {
                    let mark = attributes.remove(mark).span();
                    kept.push(Self { position, input, mark });
                }
                None => signature.inputs.push(input),
            }
        }
        kept
    }

    /// The type of the value, and whether it is taken by `&mut`; `None` if it is no reference.
    pub(crate) fn referent(&self) -> Option<(&Type, bool)> {
        let FnArg::Typed(input) = &self.input else { return None };
        match ungrouped(&input.ty) {
            Type::Reference(reference) => Some((ungrouped(&reference.elem), reference.mutability.is_some())),
            _ => None,
        }
    }
}

/// What a macro's variable stands for comes in an invisible group.
pub(crate) fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(inner) => ungrouped(&inner.elem),
        Type::Paren(inner) => ungrouped(&inner.elem),
        ty => ty,
    }
}

impl Parse for Source {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (attributes, visibility) = (input.call(Attribute::parse_outer)?, input.parse()?);
        let mut signature: Signature = input.parse()?;
        Ungroup.visit_signature_mut(&mut signature);
        let body = input.parse()?;
        let kept = Kept::take(&mut signature);
        Show.visit_signature_mut(&mut signature);
        Ok(Self { attributes, visibility, signature, kept, body })
    }
}

impl Source {
    /// The signature as it stands in the source.
    pub(crate) fn marked_signature(&self) -> Signature {
        let mut signature = self.signature.clone();
        for kept in &self.kept {
            let mut input = kept.input.clone();
            if let FnArg::Typed(input) = &mut input {
                input.attrs.push(syn::parse_quote!(#[worker]));
            }
            signature.inputs.insert(kept.position, input);
        }
        signature
    }

    /// The signature as it stands in the source, without our marks.
    pub(crate) fn whole_signature(&self) -> Signature {
        let mut signature = self.signature.clone();
        for kept in &self.kept {
            signature.inputs.insert(kept.position, kept.input.clone());
        }
        signature
    }
}

/// A signature of which a parameter has a `#[cfg]`: the condition, and the signature with and without that parameter. An attribute sees parameters before the
/// compiler has looked at their conditions, so it becomes two functions, of which there is one.
pub(crate) fn split_on_cfg(signature: &Signature) -> Option<(TokenStream, Signature, Signature)> {
    for position in 0..signature.inputs.len() {
        let (mut with, mut without) = (signature.clone(), signature.clone());
        let attributes = match &mut with.inputs[position] {
            FnArg::Typed(input) => &mut input.attrs,
            FnArg::Receiver(receiver) => &mut receiver.attrs,
        };
        let Some(cfg) = attributes.iter().position(|attribute| attribute.path().is_ident("cfg")) else { continue };
        let Meta::List(condition) = attributes.remove(cfg).meta else { continue };
        let others = without.inputs.into_iter().enumerate().filter(|(other, _)| *other != position);
        without.inputs = others.map(|(_, input)| input).collect();
        return Some((condition.tokens, with, without));
    }
    None
}
