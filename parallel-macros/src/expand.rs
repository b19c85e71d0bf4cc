//! The expansion of a function: the function that callers see, and the type of its verbs with its implementations.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{GenericParam, Generics};

use crate::function::Function;
use crate::options::Options;
use crate::parameter::Kind;
use crate::pieces::{item, markers, owned_predicates, pattern, tuple, variables};
use crate::source::Source;
use crate::state::State;
use crate::{remote, verbs};

/// The function that callers see: the user's signature, with a body that goes through the pool.
pub(crate) fn caller(
    function: &Function,
    source: &Source,
    options: &Options,
    arguments: &[TokenStream],
) -> TokenStream {
    let Function { attributes, visibility, .. } = function;
    let runtime = &options.runtime;
    let (outer, cfgs) = (&attributes.outer, &attributes.cfgs);
    let mut signature = source.signature.clone();
    // Patterns belong to the body; here plain names do.
    let mut names = function.parameters.iter().map(|parameter| &parameter.name);
    for input in &mut signature.inputs {
        match input {
            syn::FnArg::Receiver(receiver) => {
                names.next();
                receiver.mutability = match &receiver.kind {
                    syn::ReceiverKind::Value => None,
                    _ => receiver.mutability,
                };
            }
            syn::FnArg::Typed(input) => {
                if let Some(name) = names.next() {
                    *input.pat = syn::parse_quote!(#name);
                }
            }
        }
    }
    let verbs = function.with_any_lifetimes();
    let item = tuple(arguments);
    if function.is_async {
        let copied = function.parameters.iter().zip(arguments).map(|(parameter, argument)| match parameter.kind() {
            Kind::Ref => quote_spanned!(parameter.span()=> #runtime::private::CopyOut::copy_out(#argument)),
            _ => argument.clone(),
        });
        let item = tuple(&copied.collect::<Vec<_>>());
        return quote! {
            #(#cfgs)*
            #(#outer)*
            #visibility #signature {
                #runtime::private::awaited::<#verbs>(#item).await
            }
        };
    }
    quote! {
        #(#cfgs)*
        #(#outer)*
        #[track_caller]
        #visibility #signature {
            #runtime::Call::<#verbs>::new().call(#item)
        }
    }
}

/// The type of the verbs, and all that is implemented for it. `inline` is the signature and body of `f::inline`, `path` the
/// function that callers see.
pub(crate) fn verbs_type(
    function: &Function,
    options: &Options,
    inline: &TokenStream,
    path: &TokenStream,
) -> TokenStream {
    let Function { attributes, visibility, name, generics, .. } = function;
    let cfgs = &attributes.cfgs;
    let declared = declaration(function);
    let phantom = phantom(function);
    let (bounds, _, clause) = generics.split_for_impl();
    let arguments = function.type_arguments();
    let about = &function.about;
    let waiting = verbs::waiting(function, options);
    let owned = if function.owned { verbs::owned(function, options) } else { TokenStream::new() };
    let parallel_fn = parallel_fn(function, options, path);
    let owned_fn = if function.owned { owned_fn(function, options) } else { TokenStream::new() };
    let remote = if options.mode.is_remote() { remote::functions(function, options) } else { TokenStream::new() };
    let needs = Some(&options.needs).filter(|needs| !needs.is_empty()).map(|needs| {
        quote! {
            #(#cfgs)*
            const _: () = { #needs };
        }
    });
    quote! {
        #(#cfgs)*
        #[doc = #about]
        #visibility struct #name #declared { _marker: #phantom }

        #(#cfgs)*
        impl #bounds #name #arguments #clause {
            #inline
            #waiting
            #owned
        }
        #parallel_fn
        #owned_fn
        #remote
        #needs
    }
}

/// `<'a, T: ?Sized, const N: usize>`
fn declaration(function: &Function) -> TokenStream {
    let signature = function.signature.as_ref().map(|signature| quote!(__Signature = #signature));
    let parameters = function.generics.params.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            quote!(#lifetime)
        }
        GenericParam::Type(parameter) => {
            let ident = &parameter.ident;
            quote!(#ident: ?::core::marker::Sized)
        }
        GenericParam::Const(parameter) => {
            let (ident, ty) = (&parameter.ident, &parameter.ty);
            quote!(const #ident: #ty)
        }
    });
    let parameters = parameters.chain(signature);
    quote!(<#(#parameters),*>)
}

/// A type that uses all generics.
fn phantom(function: &Function) -> TokenStream {
    let signature = function.signature.as_ref().map(|_| quote!(::core::marker::PhantomData<__Signature>));
    let parts = function.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            Some(quote!(::core::marker::PhantomData<&#lifetime ()>))
        }
        GenericParam::Type(parameter) => {
            let ident = &parameter.ident;
            Some(quote!(::core::marker::PhantomData<#ident>))
        }
        GenericParam::Const(_) => None,
    });
    let parts = parts.chain(signature);
    quote!((#(#parts,)*))
}

/// Adds predicates to the `where` clause.
fn with_predicates(generics: &Generics, predicates: impl IntoIterator<Item = TokenStream>) -> Generics {
    let mut generics = generics.clone();
    let clause = generics.make_where_clause();
    for predicate in predicates {
        clause.predicates.push(syn::parse_quote!(#predicate));
    }
    generics
}

fn parallel_fn(function: &Function, options: &Options, path: &TokenStream) -> TokenStream {
    let Function { attributes, name, generics, output, shown, .. } = function;
    let (runtime, settings, mode) = (&options.runtime, &options.settings, options.mode_tokens());
    let cfgs = &attributes.cfgs;
    let (bounds, _, clause) = generics.split_for_impl();
    let arguments = function.type_arguments();
    let item = item(function);
    let pattern = pattern(&function.parameters);
    let names = variables(&function.parameters);
    let runner = function.runner();
    let remote = if options.mode.is_remote() { remote::table(options) } else { TokenStream::new() };
    let path_of_name = quote!(::core::concat!(::core::module_path!(), "::", #shown));
    let (keep, settings_of_state) = match &function.state {
        Some(state) => keep(state, options, &path_of_name),
        None => (TokenStream::new(), TokenStream::new()),
    };
    // Without generics nothing in the item can be borrowed: all lifetimes have names by now, and are generics.
    let by_value = function.parameters.iter().all(|parameter| parameter.kind() == Kind::Value);
    let detached = if function.is_async && by_value {
        Some(quote!(future))
    } else if generics.params.is_empty() && function.owned {
        Some(quote!(call))
    } else {
        None
    };
    let is_async = function.is_async.then(|| {
        quote!(
            const IS_ASYNC: bool = true;
        )
    });
    let detached = detached.map(|made| {
        quote! {
            const DETACHED: ::core::option::Option<#runtime::private::Detached<Self>> =
                ::core::option::Option::Some(#runtime::private::Detached::#made());
        }
    });
    quote! {
        #(#cfgs)*
        impl #bounds #runtime::ParallelFn for #name #arguments #clause {
            type Item = #item;
            type Output = #output;
            const NAME: &'static str = #path_of_name;
            #is_async
            #keep
            #detached
            #remote
            #[allow(deprecated)]
            fn spec() -> &'static #runtime::private::Spec {
                static SPEC: #runtime::private::Spec = #runtime::private::Spec::new(
                    #path_of_name,
                    #runtime::private::Mode::#mode,
                ) #settings #settings_of_state;
                // Who uses a verb uses the function: no warning that it is never called.
                let _ = #path;
                &SPEC
            }
            fn run(item: Self::Item) -> Self::Output {
                let #pattern = item;
                Self::#runner(#(#names),*)
            }
        }
    }
}

/// The constant `ParallelFn::KEEP`, and the call that tells the `Spec`.
fn keep(state: &State, options: &Options, name: &TokenStream) -> (TokenStream, TokenStream) {
    let (runtime, ty, maker) = (&options.runtime, &state.ty, state.maker(options));
    let keep = quote!(|| #runtime::private::keep_state::<#ty, _>(#name, #maker));
    let constant = quote! {
        const KEEP: ::core::option::Option<fn() -> ::core::result::Result<(), #runtime::TaskError>> =
            ::core::option::Option::Some(#keep);
    };
    let setting = if options.state.is_some() { quote!(.state(#keep)) } else { TokenStream::new() };
    (constant, setting)
}

/// What calls the function that has the body, with what the worker keeps: `call` is the path of that function, `arguments` are those of its caller.
pub(crate) fn with_state(
    function: &Function,
    options: &Options,
    call: &TokenStream,
    arguments: &[TokenStream],
) -> TokenStream {
    let runtime = &options.runtime;
    let Some(state) = &function.state else {
        let waits = function.is_async.then(|| quote!(.await));
        return quote!(#call(#(#arguments),*) #waits);
    };
    let (ty, maker, name) = (&state.ty, state.maker(options), quote!(<Self as #runtime::ParallelFn>::NAME));
    if function.is_async {
        let arguments = state.among(arguments, quote!(&__state));
        return quote! {
            let __state = #runtime::private::shared_state::<#ty, _>(#name, #maker);
            #call(#(#arguments),*).await
        };
    }
    let arguments = state.among(arguments, quote!(__state));
    let (with, mutability) =
        if state.is_exclusive { (quote!(with_state), quote!(mut)) } else { (quote!(with_shared_state), quote!()) };
    quote!(#runtime::private::#with(#name, #maker, move |__state: &#mutability #ty| #call(#(#arguments),*)))
}

fn owned_fn(function: &Function, options: &Options) -> TokenStream {
    let Function { attributes, name, generics, parameters, .. } = function;
    let runtime = &options.runtime;
    let cfgs = &attributes.cfgs;
    let runner = function.runner();
    let markers = markers(function, options);
    let owned: Vec<TokenStream> = parameters.iter().map(|parameter| parameter.owned(runtime)).collect();
    let predicates = owned_predicates(function, options);
    let extended = with_predicates(generics, predicates);
    let (bounds, _, _) = generics.split_for_impl();
    let (_, _, clause) = extended.split_for_impl();
    let arguments = function.type_arguments();
    let owned = tuple(&owned);
    let pattern = pattern(parameters);
    let verbs = function.with_any_lifetimes();
    let mut rebind = TokenStream::new();
    let mut lent = Vec::new();
    for (parameter, variable) in parameters.iter().zip(variables(parameters)) {
        let referent = parameter.referent();
        lent.push(match parameter.kind() {
            Kind::Value => quote!(#variable),
            Kind::Ref => quote!(<#referent as #runtime::private::Lend>::lend(&#variable)),
            Kind::Mut => {
                rebind.extend(quote!(let mut #variable = #variable;));
                quote!(<#referent as #runtime::private::LendMut>::lend_mut(&mut #variable))
            }
        });
    }
    let future = function.is_async.then(|| {
        let made = if parameters.iter().all(|parameter| parameter.kind() == Kind::Value) {
            quote!(#verbs::inline(#(#lent),*))
        } else {
            // Not the block alone: clippy would ask for an `async fn`, which says nothing of `Send`.
            quote!(::core::convert::identity(async move { #verbs::inline(#(#lent),*).await }))
        };
        // The span makes an error point at the function whose future cannot move between threads.
        let future = quote_spanned! {function.span=>
            fn future(
                #pattern: Self::Owned,
            ) -> impl ::core::future::Future<Output = Self::Output> + ::core::marker::Send + 'static {
                #made
            }
        };
        future
    });
    let (table, remote) = if options.mode.is_remote() {
        (remote::owned_table(options), remote::owned_functions(function, options, &extended))
    } else {
        (TokenStream::new(), TokenStream::new())
    };
    quote! {
        #(#cfgs)*
        impl #bounds #runtime::OwnedFn for #name #arguments #clause {
            type Parameters = #markers;
            type Owned = #owned;
            #table
            fn run_owned(item: Self::Owned) -> Self::Output {
                let #pattern = item;
                #rebind
                #verbs::#runner(#(#lent),*)
            }
            #future
        }
        #remote
    }
}
