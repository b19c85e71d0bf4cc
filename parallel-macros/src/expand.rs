//! The verbs of a function.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{GenericParam, Generics, Type};

use crate::function::{Function, Source};
use crate::options::{Mode, Options};
use crate::parameter::{Kind, Parameter};
use crate::remote;

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
pub(crate) fn verbs(function: &Function, options: &Options, inline: &TokenStream, path: &TokenStream) -> TokenStream {
    let Function { attributes, visibility, name, generics, .. } = function;
    let cfgs = &attributes.cfgs;
    let declared = declaration(generics);
    let phantom = phantom(generics);
    let (bounds, arguments, clause) = generics.split_for_impl();
    let about = format!("[`{0}`](fn@{0}), and the verbs to call it by.", function.shown);
    let waiting = waiting_verbs(function, options);
    let owned = if function.owned { owned_verbs(function, options) } else { TokenStream::new() };
    let parallel_fn = parallel_fn(function, options, path);
    let owned_fn = if function.owned { owned_fn(function, options) } else { TokenStream::new() };
    let remote = if options.mode == Mode::Process { remote::functions(function, options) } else { TokenStream::new() };
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
    }
}

/// `<'a, T: ?Sized, const N: usize>`
fn declaration(generics: &Generics) -> TokenStream {
    let parameters = generics.params.iter().map(|parameter| match parameter {
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
    quote!(<#(#parameters),*>)
}

/// A type that uses all generics.
fn phantom(generics: &Generics) -> TokenStream {
    let parts = generics.params.iter().filter_map(|parameter| match parameter {
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
    quote!((#(#parts,)*))
}

/// `()`, `a`, or `(a, b)`.
pub(crate) fn tuple(parts: &[TokenStream]) -> TokenStream {
    match parts {
        [one] => one.clone(),
        parts => quote!((#(#parts),*)),
    }
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

fn item(function: &Function) -> TokenStream {
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

/// The verbs that wait for their results, and those that give a `Call`.
fn waiting_verbs(function: &Function, options: &Options) -> TokenStream {
    let visibility = &function.visibility;
    let (runtime, output, item) = (&options.runtime, &function.output, item(function));
    let (names, pattern) = (variables(&function.parameters), pattern(&function.parameters));
    let types = function.parameters.iter().map(|parameter| &parameter.ty);
    let starmap = if function.parameters.len() > 1 {
        quote! {
            /// `map` under Python's name for functions of several parameters.
            #[track_caller]
            #visibility fn starmap(items: impl ::core::iter::IntoIterator<Item = #item>) -> ::std::vec::Vec<#output> {
                #runtime::Call::<Self>::new().map(items)
            }
        }
    } else {
        TokenStream::new()
    };
    quote! {
        /// Runs all items on the pool and gives their results, in order. Panics at the first item that failed.
        #[track_caller]
        #visibility fn map(items: impl ::core::iter::IntoIterator<Item = #item>) -> ::std::vec::Vec<#output> {
            #runtime::Call::<Self>::new().map(items)
        }

        /// Runs all items on the pool and gives each one's result or error, in order.
        #visibility fn try_map(
            items: impl ::core::iter::IntoIterator<Item = #item>,
        ) -> ::std::vec::Vec<::core::result::Result<#output, #runtime::TaskError>> {
            #runtime::Call::<Self>::new().try_map(items)
        }

        #starmap

        /// Hands one call to the pool and returns at once; it may borrow what lives longer than the scope.
        #visibility fn scoped<'__scope>(
            __scope: &'__scope #runtime::Scope<'__scope, '_>,
            #(#names: #types),*
        ) -> #runtime::ScopedTask<'__scope, #output>
        where
            Self: '__scope,
            #item: '__scope,
            #output: '__scope,
        {
            #runtime::Call::<Self>::new().scoped(__scope, #pattern)
        }

        /// The same verbs on a pool of your own.
        #visibility fn on<'__pool>(pool: &'__pool impl #runtime::Pool<Self>) -> #runtime::Call<'__pool, Self> {
            #runtime::Call::on(pool)
        }

        /// The same verbs with options.
        #visibility fn options() -> #runtime::Call<'static, Self> {
            #runtime::Call::new()
        }
    }
}

/// The verbs that return before the task has ended.
fn owned_verbs(function: &Function, options: &Options) -> TokenStream {
    let visibility = &function.visibility;
    let (runtime, output) = (&options.runtime, &function.output);
    let names = function.names();
    let types: Vec<TokenStream> =
        function.parameters.iter().map(|parameter| parameter.owned_argument(runtime)).collect();
    let owned: Vec<TokenStream> = function
        .parameters
        .iter()
        .map(|parameter| {
            let (name, marker) = (&parameter.name, parameter.marker(runtime));
            match parameter.kind() {
                Kind::Value => quote!(#name),
                _ => quote!(#runtime::private::IntoOwned::<#marker>::into_owned(#name)),
            }
        })
        .collect();
    let owned = tuple(&owned);
    let owned_types: Vec<TokenStream> = function.parameters.iter().map(|parameter| parameter.owned(runtime)).collect();
    let owned_types = tuple(&owned_types);
    let markers = markers(function, options);
    // Without references the items have one type only, which helps inference.
    let items = if function.parameters.iter().all(|parameter| parameter.kind() == Kind::Value) {
        quote!(impl ::core::iter::IntoIterator<Item = #owned_types>)
    } else {
        quote!(impl ::core::iter::IntoIterator<Item: #runtime::private::IntoOwned<#markers, Owned = #owned_types>>)
    };
    let predicates = owned_predicates(function, options);
    let each = if function.parameters.iter().all(|parameter| parameter.kind() == Kind::Value) {
        quote!(::core::iter::IntoIterator<Item = #owned_types>)
    } else {
        quote!(::core::iter::IntoIterator<Item: #runtime::private::IntoOwned<#markers, Owned = #owned_types>>)
    };
    let streams = [("imap", "Imap"), ("imap_unordered", "ImapUnordered"), ("stream", "TaskStream")];
    let docs = [
        "Gives the results of all items in order, as they come; takes items only as results are taken.",
        "Gives the results of all items as they come, each with its item's number; takes items only as results are taken.",
        "Gives the results of all items in order, as a stream; takes items only as results are taken.",
    ];
    let streams = streams.iter().zip(docs).map(|((verb, ty), doc)| {
        let (verb, ty) = (quote::format_ident!("{verb}"), quote::format_ident!("{ty}"));
        quote! {
            #[doc = #doc]
            #visibility fn #verb<__Items: #each>(
                items: __Items,
            ) -> #runtime::#ty<Self, <__Items as ::core::iter::IntoIterator>::IntoIter>
            where
                #(#predicates),*
            {
                #runtime::Call::<Self>::new().#verb(items)
            }
        }
    });
    let streams: TokenStream = streams.collect();
    let clause = if predicates.is_empty() { TokenStream::new() } else { quote!(where #(#predicates),*) };
    let starmap_async = if function.parameters.len() > 1 {
        quote! {
            /// `map_async` under Python's name for functions of several parameters.
            #visibility fn starmap_async(items: #items) -> #runtime::MapTask<#output> #clause {
                #runtime::Call::<Self>::new().map_async(items)
            }
        }
    } else {
        TokenStream::new()
    };
    quote! {
        /// Hands one call to the pool and returns at once.
        #visibility fn submit(#(#names: #types),*) -> #runtime::Task<#output> #clause {
            #runtime::Call::<Self>::new().submit_owned(#owned)
        }

        /// Runs all items on the pool in the background and returns at once.
        #visibility fn map_async(items: #items) -> #runtime::MapTask<#output> #clause {
            #runtime::Call::<Self>::new().map_async(items)
        }

        #starmap_async

        #streams

        /// Runs one call on a thread or in a process of its own, outside every pool.
        #visibility fn spawn(#(#names: #types),*) -> #runtime::Spawned<#output> #clause {
            #runtime::Call::<Self>::new().spawn_owned(#owned)
        }
    }
}

fn parallel_fn(function: &Function, options: &Options, path: &TokenStream) -> TokenStream {
    let Function { attributes, name, generics, output, shown, .. } = function;
    let (runtime, settings, mode) = (&options.runtime, &options.settings, options.mode_tokens());
    let cfgs = &attributes.cfgs;
    let (bounds, arguments, clause) = generics.split_for_impl();
    let item = item(function);
    let pattern = pattern(&function.parameters);
    let names = variables(&function.parameters);
    let runner = function.runner();
    let remote = if options.mode == Mode::Process { remote::table(options) } else { TokenStream::new() };
    // Without generics nothing in the item can be borrowed: all lifetimes have names by now, and are generics.
    let is_async = function.is_async.then(|| {
        quote!(
            const IS_ASYNC: bool = true;
        )
    });
    let detach = if function.is_async {
        quote! {
            fn detach(
                item: Self::Item,
            ) -> ::core::result::Result<#runtime::private::Detached<Self::Output>, Self::Item> {
                let body = <Self as #runtime::OwnedFn>::body(item);
                ::core::result::Result::Ok(#runtime::private::detached_body(body))
            }
        }
    } else if generics.params.is_empty() && function.owned {
        quote! {
            fn detach(
                item: Self::Item,
            ) -> ::core::result::Result<#runtime::private::Detached<Self::Output>, Self::Item> {
                ::core::result::Result::Ok(#runtime::private::detached::<Self>(item))
            }
        }
    } else {
        TokenStream::new()
    };
    quote! {
        #(#cfgs)*
        impl #bounds #runtime::ParallelFn for #name #arguments #clause {
            type Item = #item;
            type Output = #output;
            #is_async
            fn spec() -> &'static #runtime::private::Spec {
                static SPEC: #runtime::private::Spec = #runtime::private::Spec::new(
                    ::core::concat!(::core::module_path!(), "::", #shown),
                    #runtime::private::Mode::#mode,
                ) #settings;
                // Who uses a verb uses the function: no warning that it is never called.
                let _ = #path;
                &SPEC
            }
            fn run(#pattern: Self::Item) -> Self::Output {
                Self::#runner(#(#names),*)
            }
            #detach
            #remote
        }
    }
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
fn markers(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let markers: Vec<TokenStream> = function.parameters.iter().map(|parameter| parameter.marker(runtime)).collect();
    match markers.as_slice() {
        [one] => quote!(#runtime::private::One<#one>),
        many => quote!((#(#many),*)),
    }
}

/// What a generic function must fulfil so that its calls can outlive the expression that makes them.
fn owned_predicates(function: &Function, options: &Options) -> Vec<TokenStream> {
    let Function { generics, parameters, output, .. } = function;
    let runtime = &options.runtime;
    let mut predicates: Vec<TokenStream> = Vec::new();
    if !function.is_generic() {
        return predicates;
    }
    predicates.push(quote!(#output: 'static));
    for parameter in parameters {
        let (referent, owned) = (parameter.referent(), parameter.owned(runtime));
        if parameter.kind() != Kind::Value && is_bare_parameter(referent, generics) {
            let lend = if parameter.kind() == Kind::Mut { quote!(LendMut) } else { quote!(Lend) };
            predicates.push(quote!(#referent: #runtime::private::#lend));
        }
        predicates.push(quote!(#owned: ::core::marker::Send + 'static));
    }
    predicates
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
    let (_, arguments, clause) = extended.split_for_impl();
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
    let body = function.is_async.then(|| {
        // The span makes an error point at the function whose future cannot move between threads.
        let future = quote_spanned!(function.span=> #runtime::private::Body::future(#verbs::inline(#(#lent),*)));
        quote! {
            fn body(#pattern: Self::Owned) -> #runtime::private::Body<Self::Output> {
                #future
            }
        }
    });
    let (table, remote) = if options.mode == Mode::Process {
        (remote::owned_table(options), remote::owned_functions(function, options, &extended))
    } else {
        (TokenStream::new(), TokenStream::new())
    };
    quote! {
        #(#cfgs)*
        impl #bounds #runtime::OwnedFn for #name #arguments #clause {
            type Parameters = #markers;
            type Owned = #owned;
            fn run_owned(#pattern: Self::Owned) -> Self::Output {
                #rebind
                #verbs::#runner(#(#lent),*)
            }
            #body
            #table
        }
        #remote
    }
}

/// Whether a type is just one of the function's own type parameters.
fn is_bare_parameter(ty: &Type, generics: &Generics) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.get_ident().is_some_and(|ident| generics.type_params().any(|parameter| parameter.ident == *ident))
}
