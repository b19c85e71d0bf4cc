//! The verbs of a function, as users see them.

use proc_macro2::TokenStream;
use quote::quote;

use crate::attributes::as_generated;
use crate::function::Function;
use crate::options::Options;
use crate::parameter::{Kind, may_borrow};
use crate::pieces::{item, markers, owned_predicates, tuple};

/// The verbs that wait for their results, and those that give a `Call`.
pub(crate) fn waiting(function: &Function, options: &Options) -> TokenStream {
    let visibility = as_generated(&function.visibility);
    let (runtime, output, item) = (&options.runtime, &function.output, item(function));
    let names = function.names();
    let pattern = tuple(&names.iter().map(|name| quote!(#name)).collect::<Vec<_>>());
    let ((scoped, scope), pool) = (&function.scope, &function.pool);
    let types = function.parameters.iter().map(|parameter| &parameter.ty);
    let parts = [item.clone(), quote!(#output)].into_iter();
    let may_borrow = parts.filter(|part| may_borrow(part.clone(), &function.generics));
    let many = many(function);
    let starmap = if function.parameters.len() > 1 {
        quote! {
            /// `map` under Python's name for functions of several parameters.
            #[track_caller]
            #visibility fn starmap(items: impl #runtime::IntoItems<#item>) -> ::std::vec::Vec<#output> {
                #runtime::Call::<Self>::new().map(items)
            }
        }
    } else {
        TokenStream::new()
    };
    quote! {
        /// Runs all items on the pool and gives their results, in order. Panics at the first item that failed.
        #[track_caller]
        #visibility fn map(items: impl #runtime::IntoItems<#item>) -> ::std::vec::Vec<#output> {
            #runtime::Call::<Self>::new().map(items)
        }

        /// Runs all items on the pool and gives each one's result or error, in order.
        #visibility fn try_map(
            items: impl #runtime::IntoItems<#item>,
        ) -> ::std::vec::Vec<::core::result::Result<#output, #runtime::TaskError>> {
            #runtime::Call::<Self>::new().try_map(items)
        }

        #starmap

        /// Hands one call to the pool and returns at once; it may borrow what lives longer than the scope.
        #many
        #visibility fn scoped<#scoped>(
            #scope: &#scoped #runtime::Scope<#scoped, '_>,
            #(#names: #types),*
        ) -> #runtime::ScopedTask<#scoped, #output>
        where
            Self: #scoped,
            #(#may_borrow: #scoped,)*
        {
            #runtime::Call::<Self>::new().scoped(#scope, #pattern)
        }

        /// The same verbs on a pool of your own.
        #visibility fn on<#pool>(pool: &#pool impl #runtime::Pool<Self>) -> #runtime::Call<#pool, Self> {
            #runtime::Call::on(pool)
        }

        /// The same verbs with options.
        #visibility fn options() -> #runtime::Call<'static, Self> {
            #runtime::Call::new()
        }
    }
}

/// One more than the function has is too many for clippy.
fn many(function: &Function) -> Option<TokenStream> {
    (function.parameters.len() > 6).then(|| quote!(#[allow(clippy::too_many_arguments)]))
}

/// The verbs that return before the task has ended.
pub(crate) fn owned(function: &Function, options: &Options) -> TokenStream {
    let visibility = as_generated(&function.visibility);
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
    let each = if function.parameters.iter().all(|parameter| parameter.kind() == Kind::Value) {
        quote!(#runtime::IntoItems<#owned_types>)
    } else {
        quote!(::core::iter::IntoIterator<Item: #runtime::private::IntoOwned<#markers, Owned = #owned_types>>)
    };
    let items = quote!(impl #each);
    let predicates = owned_predicates(function, options);
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
    let many = many(function);
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
        /// Hands one call to the pool and returns at once. For a `&str` it takes a `String`, for a slice a `Vec`, a `SharedVec` or a `SharedSlice`: what owns its data.
        #many
        #visibility fn submit(#(#names: #types),*) -> #runtime::Task<#output> #clause {
            #runtime::Call::<Self>::new().submit_owned(#owned)
        }

        /// Hands one call to the pool, unless that has as many tasks as its `queue` allows, or is shut down: then the arguments come back.
        #many
        #visibility fn try_submit(
            #(#names: #types),*
        ) -> ::core::result::Result<#runtime::Task<#output>, #runtime::TrySubmitError<#owned_types>> #clause {
            #runtime::Call::<Self>::new().try_submit_owned(#owned)
        }

        /// Runs all items on the pool in the background and returns at once.
        #visibility fn map_async(items: #items) -> #runtime::MapTask<#output> #clause {
            #runtime::Call::<Self>::new().map_async(items)
        }

        #starmap_async

        #streams

        /// Runs one call on a thread or in a process of its own, outside every pool.
        #many
        #visibility fn spawn(#(#names: #types),*) -> #runtime::Spawned<#output> #clause {
            #runtime::Call::<Self>::new().spawn_owned(#owned)
        }
    }
}
