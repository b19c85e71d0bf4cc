//! One parameter.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Generics, Pat, Path, Type};

/// How a parameter takes its argument.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `T`
    Value,
    /// `&T`
    Ref,
    /// `&mut T`
    Mut,
}

/// What `self` is called where it is a parameter like others.
pub(crate) const RECEIVER: &str = "__this";

/// One parameter, all of whose lifetimes have names.
pub(crate) struct Parameter {
    /// Those of the user, for the function's body.
    pub(crate) attributes: Vec<Attribute>,
    /// As the user wrote it, for the function's body.
    pub(crate) pattern: Pat,
    /// A plain name, for everything else.
    pub(crate) name: Ident,
    /// Whether it stands for `self`.
    pub(crate) is_receiver: bool,
    pub(crate) ty: Type,
}

impl Parameter {
    pub(crate) fn new(position: usize, attributes: Vec<Attribute>, pattern: Pat, ty: Type) -> Self {
        let name = match &pattern {
            Pat::Ident(pattern) if pattern.subpat.is_none() => {
                let mut name = pattern.ident.clone();
                // Lints look at where a name was made: `_unused` is used here.
                name.set_span(Span::call_site().located_at(name.span()));
                name
            }
            _ => format_ident!("argument_{position}"),
        };
        let is_receiver = name == RECEIVER;
        Self { attributes, pattern, name, is_receiver, ty }
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.ty {
            Type::Reference(reference) if reference.mutability.is_some() => Kind::Mut,
            Type::Reference(_) => Kind::Ref,
            _ => Kind::Value,
        }
    }

    /// The type itself, or what the reference points to.
    pub(crate) fn referent(&self) -> &Type {
        match &self.ty {
            Type::Reference(reference) => strip(&reference.elem),
            ty => ty,
        }
    }

    pub(crate) fn span(&self) -> Span {
        if self.is_receiver {
            // It stands where the receiver does, whose type is written elsewhere.
            return self.name.span();
        }
        self.ty.span()
    }

    /// The marker type that names its kind.
    pub(crate) fn marker(&self, runtime: &Path) -> TokenStream {
        let marker = match self.kind() {
            Kind::Value => "ByValue",
            Kind::Ref => "ByRef",
            Kind::Mut => "ByMut",
        };
        let marker = Ident::new(marker, Span::call_site());
        let referent = self.referent();
        quote_spanned!(self.span()=> #runtime::private::#marker<#referent>)
    }

    /// The marker type by which it crosses a process border: a worker may keep what a reference points to, if that borrows nothing.
    pub(crate) fn pass_marker(&self, runtime: &Path, generics: &Generics, is_async: bool) -> TokenStream {
        let referent = self.referent();
        if self.kind() == Kind::Ref && is_async {
            return quote_spanned!(self.span()=> #runtime::private::ByCopy<#referent>);
        }
        if self.kind() != Kind::Ref || may_borrow(quote!(#referent), generics) {
            return self.marker(runtime);
        }
        quote_spanned!(self.span()=> #runtime::private::BySharedRef<#referent>)
    }

    /// The type that owns its argument.
    pub(crate) fn owned(&self, runtime: &Path) -> TokenStream {
        let referent = self.referent();
        match self.kind() {
            Kind::Value => quote!(#referent),
            _ => quote_spanned!(self.span()=> <#referent as #runtime::private::Lend>::Owned),
        }
    }

    /// The type of the argument in a verb that does not wait.
    pub(crate) fn owned_argument(&self, runtime: &Path) -> TokenStream {
        let (marker, owned) = (self.marker(runtime), self.owned(runtime));
        match self.kind() {
            Kind::Value => owned,
            _ => quote!(impl #runtime::private::IntoOwned<#marker, Owned = #owned>),
        }
    }
}

/// Whether a type may borrow something: it names a lifetime or a generic type, or is one that cannot be seen.
pub(crate) fn may_borrow(ty: TokenStream, generics: &Generics) -> bool {
    ty.into_iter().any(|token| match token {
        TokenTree::Group(group) => may_borrow(group.stream(), generics),
        TokenTree::Punct(punct) => punct.as_char() == '\'' || punct.as_char() == '!',
        TokenTree::Ident(ident) => {
            ident == "Self"
                || ident == "impl"
                || ident == "dyn"
                || generics.type_params().any(|parameter| parameter.ident == ident)
        }
        TokenTree::Literal(_) => false,
    })
}

/// `T` for `(T)`, as in `&(dyn A + B)`.
fn strip(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => strip(&inner.elem),
        Type::Group(inner) => strip(&inner.elem),
        ty => ty,
    }
}
