//! How the calls of a `mode = "process"` function cross the border.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

use crate::expand::{pattern, variables};
use crate::function::Function;
use crate::options::Options;
use crate::parameter::Kind;

/// `let __strategy_0 = ...;` for each parameter.
fn strategies(function: &Function, options: &Options) -> (Vec<Ident>, TokenStream) {
    let runtime = &options.runtime;
    let names: Vec<Ident> = (0..function.parameters.len()).map(|position| format_ident!("__strategy_{position}")).collect();
    let lets = function.parameters.iter().zip(&names).map(|(parameter, name)| {
        let marker = parameter.marker(runtime);
        // The span makes an error point at the parameter's type.
        quote_spanned!(parameter.span()=> let #name = (&#runtime::private::Probe::<#marker>::new()).strategy();)
    });
    (names.clone(), quote!(#(#lets)*))
}

fn imports(options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    quote! {
        #[allow(unused_imports)]
        use #runtime::private::{ViaBytes as _, ViaReferent as _, ViaReferentMut as _, ViaSerde as _};
    }
}

/// `let __output = ...;`, the strategy of the result.
fn output_strategy(function: &Function, options: &Options) -> TokenStream {
    let (runtime, output) = (&options.runtime, &function.output);
    quote_spanned! {output.span()=>
        let __output = (&#runtime::private::Probe::<#runtime::private::ByValue<#output>>::new()).strategy();
    }
}

/// The functions that the table of `ParallelFn::remote` points to, and the marker trait.
pub(crate) fn functions(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let name = &function.name;
    let cfgs = &function.attributes.cfgs;
    let (bounds, arguments, clause) = function.generics.split_for_impl();
    let verbs = function.with_any_lifetimes();
    let imports = imports(options);
    let (strategies, lets) = strategies(function, options);
    let output = output_strategy(function, options);
    let output_type = &function.output;
    let variables = variables(&function.parameters);
    let pattern = pattern(&function.parameters);

    let (mut received, mut lent, mut given_back, mut taken_back) =
        (TokenStream::new(), Vec::new(), TokenStream::new(), TokenStream::new());
    for ((parameter, variable), strategy) in function.parameters.iter().zip(&variables).zip(&strategies) {
        let mutability = (parameter.kind() == Kind::Mut).then(|| quote!(mut));
        received.extend(quote! {
            let #mutability #variable = #strategy.receive(reader).map_err(#runtime::private::ServeError::Decode)?;
        });
        lent.push(match parameter.kind() {
            Kind::Value => quote!(#variable),
            Kind::Ref => quote!(#strategy.lend(&#variable)),
            Kind::Mut => quote!(#strategy.lend_mut(&mut #variable)),
        });
        if parameter.kind() == Kind::Mut {
            given_back.extend(quote!(#strategy.give_back(&#variable, writer)?;));
            taken_back.extend(quote!(#strategy.take_back(#variable, returned)?;));
        }
    }
    let take_back = if taken_back.is_empty() {
        TokenStream::new()
    } else {
        quote! {
            #[doc(hidden)]
            #[allow(unused_variables)]
            fn __take_back(
                item: &mut <Self as #runtime::ParallelFn>::Item,
                returned: &mut #runtime::private::Returned<'_>,
            ) -> ::core::result::Result<(), #runtime::private::CodecError> {
                #imports
                #lets
                let #pattern = item;
                #taken_back
                ::core::result::Result::Ok(())
            }
        }
    };
    let result = quote!(::core::result::Result<(), #runtime::private::CodecError>);
    quote! {
        #(#cfgs)*
        impl #bounds #runtime::ProcessFn for #name #arguments #clause {}

        #(#cfgs)*
        impl #bounds #name #arguments #clause {
            #[doc(hidden)]
            fn __serve(
                reader: &mut #runtime::private::Reader<'_>,
                outlet: &mut dyn #runtime::private::Outlet,
            ) -> ::core::result::Result<(), #runtime::private::ServeError> {
                #imports
                #lets
                #output
                #received
                let __result = #verbs::inline(#(#lent),*);
                outlet.deliver(&mut |writer: &mut #runtime::private::Writer<'_>| -> #result {
                    __output.send(&__result, writer)?;
                    #given_back
                    ::core::result::Result::Ok(())
                })
            }

            #[doc(hidden)]
            #[allow(unused_variables)]
            fn __send(item: &<Self as #runtime::ParallelFn>::Item, writer: &mut #runtime::private::Writer<'_>) -> #result {
                #imports
                #lets
                let #pattern = item;
                #(#strategies.send(#variables, writer)?;)*
                ::core::result::Result::Ok(())
            }

            #[doc(hidden)]
            fn __receive(
                returned: &mut #runtime::private::Returned<'_>,
            ) -> ::core::result::Result<#output_type, #runtime::private::CodecError> {
                #imports
                #output
                __output.receive(returned.results())
            }

            #take_back
        }
    }
}

/// The method `ParallelFn::remote`.
pub(crate) fn table(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let take_back = if function.parameters.iter().any(|parameter| parameter.kind() == Kind::Mut) {
        quote!(::core::option::Option::Some(Self::__take_back))
    } else {
        quote!(::core::option::Option::None)
    };
    quote! {
        fn remote() -> ::core::option::Option<#runtime::private::Remote<Self>> {
            ::core::option::Option::Some(#runtime::private::Remote {
                serve: Self::__serve,
                send: Self::__send,
                receive: Self::__receive,
                take_back: #take_back,
            })
        }
    }
}

/// The body of `OwnedFn::send_owned`.
pub(crate) fn send_owned(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let imports = imports(options);
    let (strategies, lets) = strategies(function, options);
    let pattern = pattern(&function.parameters);
    let sends = function.parameters.iter().zip(variables(&function.parameters)).zip(&strategies).map(
        |((parameter, variable), strategy)| {
            let referent = parameter.referent();
            match parameter.kind() {
                Kind::Value => quote!(#strategy.send(#variable, writer)?;),
                _ => quote!(#strategy.send(<#referent as #runtime::private::Lend>::lend(#variable), writer)?;),
            }
        },
    );
    quote! {
        #imports
        #lets
        let #pattern = item;
        let _ = &writer;
        #(#sends)*
        ::core::result::Result::Ok(())
    }
}
