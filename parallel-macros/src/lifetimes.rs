//! Names for lifetimes that have none.
//!
//! In a signature `&str` has a lifetime of its own without a name; in a type that stands elsewhere it needs one. The types of
//! the parameters are copied into a struct's `impl`, so each anonymous lifetime gets a name there, and the elided lifetimes of
//! the result get the one that the elision rules say.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{GenericArgument, Lifetime, ParenthesizedGenericArguments, PathArguments, Type, TypeReference};

/// Types that are known to have a lifetime, which may be left out in a signature: `ArrayView2<f64>`, `Cow<str>`.
fn hides_lifetime(ident: &syn::Ident) -> bool {
    let name = ident.to_string();
    name == "Cow" || name.starts_with("ArrayView")
}

/// Writes `'_` where a lifetime was left out.
pub(crate) struct Show;

impl VisitMut for Show {
    fn visit_path_segment_mut(&mut self, segment: &mut syn::PathSegment) {
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments
            && hides_lifetime(&segment.ident)
            && !arguments.args.iter().any(|argument| matches!(argument, GenericArgument::Lifetime(_)))
        {
            let lifetime = Lifetime::new("'_", segment.ident.span());
            arguments.args.insert(0, GenericArgument::Lifetime(lifetime));
        }
        visit_mut::visit_path_segment_mut(self, segment);
    }
}

/// Takes types out of the invisible groups in which a macro's variables come.
pub(crate) struct Ungroup;

impl VisitMut for Ungroup {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        while let Type::Group(group) = ty {
            *ty = match (*group.elem).clone() {
                // With more than one bound it may not stand everywhere.
                inner @ (Type::TraitObject(_) | Type::ImplTrait(_)) => Type::Paren(syn::TypeParen {
                    paren_token: Default::default(),
                    elem: Box::new(inner),
                    attrs: Vec::new(),
                }),
                inner => inner,
            };
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// The names of all lifetimes and labels in some tokens.
pub(crate) fn names_in(tokens: TokenStream, names: &mut HashSet<String>) {
    let mut after_quote = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => names_in(group.stream(), names),
            TokenTree::Ident(ident) if after_quote => {
                names.insert(ident.to_string());
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                after_quote = true;
                continue;
            }
            _ => {}
        }
        after_quote = false;
    }
}

/// A lifetime of this name, unless that is taken or none: then of another one.
pub(crate) fn named(name: &str, otherwise: &str, taken: &HashSet<String>) -> Lifetime {
    let is_free = !taken.contains(name) && syn::parse_str::<syn::Ident>(name).is_ok();
    let name = if is_free { name } else { otherwise };
    Lifetime::new(&format!("'{name}"), Span::call_site())
}

/// Gives names to anonymous lifetimes: those of the parameters, as far as they are free, since documentation shows them.
pub(crate) struct Name {
    pub(crate) made: Vec<Lifetime>,
    /// Names that are not free.
    pub(crate) taken: HashSet<String>,
    /// The parameter whose type it is.
    parameter: String,
}

impl Name {
    pub(crate) fn new(taken: HashSet<String>) -> Self {
        Self { made: Vec::new(), taken, parameter: String::new() }
    }

    /// What follows is the type of this parameter.
    pub(crate) fn begin(&mut self, parameter: &str) {
        parameter.clone_into(&mut self.parameter);
    }

    fn next(&mut self) -> Lifetime {
        let otherwise = format!("__parallel_{}", self.made.len());
        let mut name = named(&self.parameter, &otherwise, &self.taken);
        if self.taken.contains(&self.parameter) {
            let second = format!("{}_{}", self.parameter, self.made.len());
            name = named(&second, &otherwise, &self.taken);
        }
        self.taken.insert(name.ident.to_string());
        self.made.push(name.clone());
        name
    }
}

impl VisitMut for Name {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") {
            reference.lifetime = Some(self.next());
        }
        self.visit_type_mut(&mut reference.elem);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = self.next();
        }
    }

    // These have lifetimes of their own.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// Gives one lifetime to all anonymous ones: those of a result.
pub(crate) struct Replace(pub(crate) Lifetime);

impl VisitMut for Replace {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident == "_") {
            reference.lifetime = Some(self.0.clone());
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = self.0.clone();
        }
    }

    fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// The lifetimes and references in a type.
#[derive(Default)]
pub(crate) struct Found<'t> {
    pub(crate) lifetimes: Vec<&'t Lifetime>,
    pub(crate) references: Vec<&'t TypeReference>,
    pub(crate) impls: Vec<&'t syn::TypeImplTrait>,
    pub(crate) dyns: bool,
}

impl<'t> Found<'t> {
    pub(crate) fn of(ty: &'t Type) -> Self {
        let mut found = Self::default();
        found.visit_type(ty);
        found
    }

    /// Whether the type borrows from something that is not `'static`.
    pub(crate) fn borrows(&self) -> bool {
        let eternal = |lifetime: &Lifetime| lifetime.ident == "static";
        self.lifetimes.iter().any(|lifetime| !eternal(lifetime))
            || self
                .references
                .iter()
                .any(|reference| reference.lifetime.as_ref().is_none_or(|lifetime| !eternal(lifetime)))
    }
}

impl<'t> Visit<'t> for Found<'t> {
    fn visit_type_reference(&mut self, reference: &'t TypeReference) {
        self.references.push(reference);
        visit::visit_type_reference(self, reference);
    }
    fn visit_lifetime(&mut self, lifetime: &'t Lifetime) {
        self.lifetimes.push(lifetime);
    }
    fn visit_type_impl_trait(&mut self, ty: &'t syn::TypeImplTrait) {
        self.impls.push(ty);
        visit::visit_type_impl_trait(self, ty);
    }
    fn visit_type_trait_object(&mut self, ty: &'t syn::TypeTraitObject) {
        self.dyns = true;
        visit::visit_type_trait_object(self, ty);
    }
    fn visit_type_fn_ptr(&mut self, _: &'t syn::TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'t ParenthesizedGenericArguments) {}
}
