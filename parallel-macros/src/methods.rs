//! Free functions, and `impl` blocks whose methods are annotated.

use std::collections::VecDeque;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::parse::{Parse, Parser};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Error, FnArg, GenericParam, Generics, ImplItem, ImplItemFn, Item, ItemImpl, Meta, ReceiverKind, Token,
    Type,
};

use crate::attributes::as_generated;
use crate::expand;
use crate::function::{self, Function, is_parallel};
use crate::options::{self, Errors, Options};
use crate::parameter::RECEIVER;
use crate::source::{Source, split_on_cfg};

/// Expands the attribute on a function, method or `impl` block.
pub(crate) fn expand_any(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if let Ok(source) = syn::parse2::<Source>(item.clone()) {
        return free_function(arguments, &source);
    }
    match syn::parse2::<Item>(item)? {
        Item::Impl(block) => impl_block(&arguments, block),
        other => Err(Error::new_spanned(
            other,
            "`#[parallel]` goes on a function, or on an `impl` block whose methods it is on",
        )),
    }
}

/// The item without our attributes in it.
pub(crate) fn without_attributes(item: TokenStream) -> TokenStream {
    if let Ok(mut source) = syn::parse2::<Source>(item.clone()) {
        source.attributes.retain(|attribute| !is_parallel(attribute.path()));
        let (signature, Source { attributes, visibility, body, .. }) = (source.whole_signature(), source);
        return quote!(#(#attributes)* #visibility #signature #body);
    }
    match syn::parse2::<ItemImpl>(item.clone()) {
        Ok(mut block) => {
            for item in &mut block.items {
                if let ImplItem::Fn(method) = item {
                    method.attrs.retain(|attribute| !is_parallel(attribute.path()));
                    if let Ok(source) = Source::parse.parse2(method.to_token_stream()) {
                        method.sig = source.whole_signature();
                    }
                }
            }
            block.into_token_stream()
        }
        Err(_) => item,
    }
}

fn free_function(arguments: TokenStream, source: &Source) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let options = Options::read(arguments.clone(), &mut errors);
    if let Some((condition, with, without)) = split_on_cfg(&source.marked_signature()) {
        errors.finish()?;
        let (runtime, Source { attributes, visibility, body, .. }) = (&options.runtime, source);
        return Ok(quote! {
            #[cfg(#condition)]
            #[#runtime::parallel(#arguments)]
            #(#attributes)* #visibility #with #body

            #[cfg(not(#condition))]
            #[#runtime::parallel(#arguments)]
            #(#attributes)* #visibility #without #body
        });
    }
    function::check(source, &options, &mut errors);
    let name = &source.signature.ident;
    let function = Function::read(source, &source.signature, name, name.to_string(), None, &options, &mut errors);
    errors.finish()?;

    let names: Vec<TokenStream> = function.names().iter().map(|name| quote!(#name)).collect();
    let caller = expand::caller(&function, source, &options, &names);
    let (visibility, body) = (as_generated(&function.visibility), &source.body);
    let (lints, inner, output) = (&function.attributes.lints, &function.attributes.inner, &function.output);
    let parameters = function.parameters.iter().map(|parameter| {
        let (attributes, pattern, ty) = (&parameter.attributes, &parameter.pattern, &parameter.ty);
        quote!(#(#attributes)* #pattern: #ty)
    });
    let parameters: Vec<TokenStream> = parameters.collect();
    let plain = function.parameters.iter().map(|parameter| {
        let (name, ty) = (&parameter.name, &parameter.ty);
        quote!(#name: #ty)
    });
    let plain: Vec<TokenStream> = plain.collect();
    let asyncness = function.is_async.then(|| quote!(async));
    let mut inline = match &function.state {
        // Callers of the plain function do not see what the worker keeps.
        Some(state) => {
            let input = &state.input;
            let all = state.among(&parameters, quote!(#input));
            let call = expand::with_state(&function, &options, &quote!(Self::__body), &names);
            quote! {
                /// Calls the plain function, right here, with what this thread keeps for it.
                #(#lints)*
                #visibility #asyncness fn inline(#(#plain),*) -> #output { #call }

                #(#inner)*
                #asyncness fn __body(#(#all),*) -> #output #body
            }
        }
        None => quote! {
            /// Calls the plain function, right here.
            #(#inner)*
            #visibility #asyncness fn inline(#(#parameters),*) -> #output #body
        },
    };
    if function.is_async {
        inline.extend(runner(&function, &options, output, &plain, &names));
    }
    let arguments = Function::arguments(&source.signature.generics);
    let verbs = expand::verbs_type(&function, &options, &inline, &quote!(#name::#arguments));
    Ok(quote!(#caller #verbs))
}

fn impl_block(arguments: &TokenStream, mut block: ItemImpl) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    if !arguments.is_empty() {
        errors.at(arguments.span(), "on an `impl` block `#[parallel]` stands bare: the keys go on its methods");
    }
    if let Some((path, _)) = &block.trait_ {
        errors.at(
            path.span(),
            "the methods of a trait cannot be annotated: annotate a function, and call it from the method",
        );
    }
    let mut items = Vec::new();
    let mut verbs = TokenStream::new();
    let mut any = false;
    let mut left: VecDeque<ImplItem> = std::mem::take(&mut block.items).into();
    while let Some(item) = left.pop_front() {
        let ImplItem::Fn(mut method) = item else {
            items.push(item.into_token_stream());
            continue;
        };
        let Some(position) = method.attrs.iter().position(is_ours) else {
            items.push(method.into_token_stream());
            continue;
        };
        any = true;
        if let Some((condition, with, without)) = split_on_cfg(&method.sig) {
            let mut other = method.clone();
            method.attrs.insert(0, syn::parse_quote!(#[cfg(#condition)]));
            method.sig = with;
            other.attrs.insert(0, syn::parse_quote!(#[cfg(not(#condition))]));
            other.sig = without;
            left.push_front(ImplItem::Fn(other));
            left.push_front(ImplItem::Fn(method));
            continue;
        }
        let attribute = method.attrs.remove(position);
        let arguments = match attribute.meta {
            Meta::List(list) => list.tokens,
            _ => TokenStream::new(),
        };
        if let Some((inside, beside)) = expand_method(arguments, &method, &block, &mut errors) {
            items.push(inside);
            verbs.extend(beside);
        }
    }
    if !any {
        errors.at(
            block.self_ty.span(),
            "no method of this block is annotated: put `#[parallel(...)]`, under that name, on those that are to run on a pool",
        );
    }
    errors.finish()?;
    let ItemImpl { attrs, unsafety, generics, self_ty, .. } = &block;
    let (bounds, _, clause) = generics.split_for_impl();
    Ok(quote! {
        #(#attrs)*
        #unsafety impl #bounds #self_ty #clause {
            #(#items)*
        }
        #verbs
    })
}

/// Whether an attribute of a method is ours: under its own name, or, after `use parallel as par`, under another one and with our keys.
fn is_ours(attribute: &Attribute) -> bool {
    is_parallel(attribute.path())
        || matches!(&attribute.meta, Meta::List(list) if !is_builtin(&list.path) && options::are_keys(list.tokens.clone()))
}

/// Attributes of the compiler that take arguments.
fn is_builtin(path: &syn::Path) -> bool {
    const NAMES: [&str; 12] = [
        "cfg",
        "cfg_attr",
        "allow",
        "warn",
        "deny",
        "forbid",
        "expect",
        "doc",
        "inline",
        "deprecated",
        "must_use",
        "target_feature",
    ];
    path.get_ident().is_none_or(|ident| NAMES.iter().any(|name| ident == name))
}

/// `Foo::area_call()`: the verbs of a method, where they are looked for.
fn call_function(function: &Function, options: &Options, name: &Ident, block: &Generics) -> TokenStream {
    let (attributes, visibility) = (&function.attributes, as_generated(&function.visibility));
    let (runtime, cfgs, call) = (&options.runtime, &attributes.cfgs, format_ident!("{}_call", name));
    // The block's own generics are in scope.
    let name_of = |parameter: &GenericParam| match parameter {
        GenericParam::Lifetime(parameter) => parameter.lifetime.to_string(),
        GenericParam::Type(parameter) => parameter.ident.to_string(),
        GenericParam::Const(parameter) => parameter.ident.to_string(),
    };
    let of_block: Vec<String> = block.params.iter().map(name_of).collect();
    let own: Vec<_> = function.generics.params.iter().filter(|own| !of_block.contains(&name_of(own))).collect();
    let bounds = (!own.is_empty()).then(|| quote!(<#(#own),*>));
    let clause = &function.generics.where_clause;
    let (ty, arguments) = (&function.name, function.type_arguments());
    let doc = format!("The verbs of [`{name}`](Self::{name}): `.map(items)`, `.submit(item)` and the others.");
    quote! {
        #(#cfgs)*
        #[doc = #doc]
        #visibility fn #call #bounds () -> #runtime::Call<'static, #ty #arguments> #clause {
            #runtime::Call::new()
        }
    }
}

/// What calls the plain `async fn` and waits for it.
fn runner(
    function: &Function,
    options: &Options,
    output: &Type,
    parameters: &[TokenStream],
    arguments: &[TokenStream],
) -> TokenStream {
    let (runtime, runner) = (&options.runtime, function.runner());
    quote! {
        fn #runner(#(#parameters),*) -> #output {
            #runtime::private::drive(Self::inline(#(#arguments),*))
        }
    }
}

/// What stays in the block, and what goes beside it.
fn expand_method(
    arguments: TokenStream,
    method: &ImplItemFn,
    block: &ItemImpl,
    errors: &mut Errors,
) -> Option<(TokenStream, TokenStream)> {
    let mut options = Options::read(arguments, errors);
    if let Some(path) = &mut options.state {
        // The constants that mention it do not stand in the block.
        ReplaceSelf(&block.self_ty).visit_type_mut(path);
    }
    let tokens = method.to_token_stream();
    let source = errors.take(Source::parse.parse2(tokens))?;
    function::check(&source, &options, errors);
    let Some(of) = self_name(&block.self_ty) else {
        errors.at(block.self_ty.span(), "the methods of this type cannot be annotated: it needs a plain name");
        return None;
    };

    // The same signature as a free function's: without `self` and `Self`.
    let mut free = Source {
        attributes: source.attributes.clone(),
        visibility: source.visibility.clone(),
        signature: source.signature.clone(),
        kept: source.kept.clone(),
        body: source.body.clone(),
    };
    for input in &mut free.signature.inputs {
        if let FnArg::Receiver(receiver) = input {
            let ty: Type = match &receiver.kind {
                ReceiverKind::Value => syn::parse_quote!(Self),
                ReceiverKind::Reference(and, lifetime, mutability) => {
                    syn::parse_quote!(#and #lifetime #mutability Self)
                }
                ReceiverKind::Typed(_, ty) => (**ty).clone(),
                _ => {
                    errors.at(receiver.span(), "this form of `self` is not known to `#[parallel]`");
                    return None;
                }
            };
            let this = Ident::new(RECEIVER, receiver.self_token.span());
            *input = syn::parse_quote!(#this: #ty);
        }
    }
    ReplaceSelf(&block.self_ty).visit_signature_mut(&mut free.signature);
    free.kept.iter_mut().for_each(|kept| ReplaceSelf(&block.self_ty).visit_fn_arg_mut(&mut kept.input));

    let name = &source.signature.ident;
    let verbs_name = format_ident!("{}_{}", of, name, span = name.span());
    let hidden = format_ident!("__parallel_{}", name);
    let shown = format!("{of}::{name}");
    let function =
        Function::read(&free, &source.signature, &verbs_name, shown, Some(&block.generics), &options, errors);

    let mut arguments: Vec<TokenStream> = function.names().iter().map(|name| quote!(#name)).collect();
    if let Some(FnArg::Receiver(receiver)) = source.signature.inputs.first() {
        let token: Token![self] = receiver.self_token;
        arguments[0] = quote!(#token);
    }
    let caller = expand::caller(&function, &source, &options, &arguments);

    let mut inner_signature = source.whole_signature();
    inner_signature.ident = hidden.clone();
    let (inner, lints, cfgs) = (&function.attributes.inner, &function.attributes.lints, &function.attributes.cfgs);
    let (visibility, body) = (as_generated(&function.visibility), &source.body);
    let call = call_function(&function, &options, &source.signature.ident, &block.generics);
    let inside = quote! {
        #caller
        #call
        #(#cfgs)*
        #(#inner)*
        #[doc(hidden)]
        #visibility #inner_signature #body
    };

    let names = function.names();
    let types = function.parameters.iter().map(|parameter| &parameter.ty);
    let (self_ty, output) = (&block.self_ty, &function.output);
    let arguments: Vec<TokenStream> = names.iter().map(|name| quote!(#name)).collect();
    let call = expand::with_state(&function, &options, &quote!(<#self_ty>::#hidden), &arguments);
    let plain: Vec<TokenStream> = names.iter().zip(types).map(|(name, ty)| quote!(#name: #ty)).collect();
    let asyncness = function.is_async.then(|| quote!(async));
    let runner = function.is_async.then(|| runner(&function, &options, output, &plain, &arguments));
    let inline = quote! {
        /// Calls the plain method, right here.
        #(#lints)*
        #visibility #asyncness fn inline(#(#plain),*) -> #output {
            #call
        }
        #runner
    };
    let arguments = Function::arguments(&source.signature.generics);
    let path = quote!(<#self_ty>::#name::#arguments);
    Some((inside, expand::verbs_type(&function, &options, &inline, &path)))
}

/// The name of the type of an `impl` block.
fn self_name(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        Type::Paren(inner) => self_name(&inner.elem),
        Type::Group(inner) => self_name(&inner.elem),
        _ => None,
    }
}

/// Writes out `Self`.
struct ReplaceSelf<'t>(&'t Type);

impl VisitMut for ReplaceSelf<'_> {
    /// As in `[u8; Self::N]`.
    fn visit_expr_path_mut(&mut self, path: &mut syn::ExprPath) {
        if path.qself.is_none()
            && path.path.segments.len() > 1
            && path.path.segments.first().is_some_and(|segment| segment.ident == "Self")
        {
            let rest = path.path.segments.iter().skip(1);
            let whole = self.0;
            *path = syn::parse_quote!(<#whole>::#(#rest)::*);
            return;
        }
        visit_mut::visit_expr_path_mut(self, path);
    }

    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(path) = ty {
            if path.qself.is_none() && path.path.is_ident("Self") {
                *ty = self.0.clone();
                return;
            }
            if path.qself.is_none() && path.path.segments.first().is_some_and(|segment| segment.ident == "Self") {
                let rest = path.path.segments.iter().skip(1);
                let whole = self.0;
                *ty = syn::parse_quote!(<#whole>::#(#rest)::*);
                return;
            }
        }
        visit_mut::visit_type_mut(self, ty);
    }
}
