//! How the calls of a `mode = "process"` function cross the border.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Generics;
use syn::spanned::Spanned;

use crate::function::Function;
use crate::options::Options;
use crate::parameter::Kind;
use crate::pieces::{pattern, variables};

/// `let __pass mode_0 = ...;` for each parameter.
fn pass_modes(function: &Function, options: &Options) -> (Vec<Ident>, TokenStream) {
    let runtime = &options.runtime;
    let names: Vec<Ident> =
        (0..function.parameters.len()).map(|position| format_ident!("__pass_mode_{position}")).collect();
    let lets = function.parameters.iter().zip(&names).map(|(parameter, name)| {
        let marker = parameter.pass_marker(runtime, &function.generics, function.is_async);
        // The span makes an error point at the parameter's type.
        quote_spanned!(parameter.span()=> let #name = (&#runtime::private::Probe::<#marker>::new()).pass_mode();)
    });
    (names.clone(), quote!(#(#lets)*))
}

fn imports(options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    quote! {
        use #runtime::private::{
            ViaBytes as _, ViaErrors as _, ViaIoErrors as _, ViaNames as _, ViaReferent as _, ViaReferentMut as _, ViaSerde as _,
            ViaSharedReferent as _,
        };
    }
}

/// The variable for that. Not made by `quote_spanned`: a name with the span of a type that a macro was given is not that of another name.
fn output_name() -> Ident {
    format_ident!("__output")
}

/// `let __output = ...;`, the pass mode of the result.
fn output_pass_mode(function: &Function, options: &Options) -> TokenStream {
    let (runtime, output, name) = (&options.runtime, &function.output, output_name());
    quote_spanned! {output.span()=>
        let #name = (&#runtime::private::Probe::<#runtime::private::ByValue<#output>>::new()).pass_mode();
    }
}

/// The functions that the table of `ParallelFn::remote` points to, and the marker trait.
pub(crate) fn functions(function: &Function, options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    let name = &function.name;
    let cfgs = &function.attributes.cfgs;
    let (bounds, _, clause) = function.generics.split_for_impl();
    let arguments = function.type_arguments();
    let verbs = function.with_any_lifetimes();
    let runner = function.runner();
    let imports = imports(options);
    let (pass_modes, lets) = pass_modes(function, options);
    let output = output_pass_mode(function, options);
    let (output_type, output_name) = (&function.output, output_name());
    let variables = variables(&function.parameters);
    let pattern = pattern(&function.parameters);

    let (mut received, mut lent, mut given_back, mut taken_back) =
        (TokenStream::new(), Vec::new(), TokenStream::new(), TokenStream::new());
    let mut changed = Vec::new();
    for ((parameter, variable), pass_mode) in function.parameters.iter().zip(&variables).zip(&pass_modes) {
        let mutability = (parameter.kind() == Kind::Mut).then(|| quote!(mut));
        received.extend(quote! {
            let #mutability #variable = #pass_mode.receive(reader).map_err(#runtime::private::ServeError::Decode)?;
        });
        lent.push(match parameter.kind() {
            Kind::Value => quote!(#variable),
            Kind::Ref => quote!(#pass_mode.lend(&#variable)),
            Kind::Mut => quote!(#pass_mode.lend_mut(&mut #variable)),
        });
        if parameter.kind() == Kind::Mut {
            changed.push(variable);
            given_back.extend(quote!(#pass_mode.give_back(#variable, writer)?;));
            taken_back.extend(quote!(#pass_mode.take_back(#variable, returned)?;));
        }
    }
    let take_back = if taken_back.is_empty() {
        TokenStream::new()
    } else {
        quote! {
            const TAKES_BACK: bool = true;

            fn take_back(
                item: &mut Self::Item,
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
    let (how, value) = if function.is_async {
        (quote!(defer), quote!(async move { (#verbs::inline(#(#lent),*).await, #(#changed,)*) }))
    } else {
        (quote!(deliver), quote!((#verbs::#runner(#(#lent),*), #(#changed,)*)))
    };
    let again = (!given_back.is_empty()).then_some(&lets);
    let result = quote!(::core::result::Result<(), #runtime::private::CodecError>);
    // `unsafe` is ours: its premise, that both sides ask the same pass modes in the same order, holds for what follows. Lints against
    // `unsafe` in the user's crate do not look into what an attribute of another crate writes.
    quote! {
        #(#cfgs)*
        unsafe impl #bounds #runtime::ProcessFn for #name #arguments #clause {
            fn serve(
                reader: &mut #runtime::private::Reader<'_>,
                results: &mut #runtime::private::ResultWriter<'_>,
            ) -> ::core::result::Result<(), #runtime::private::ServeError> {
                #imports
                #lets
                #received
                results.#how(#value, |__value, writer| -> #result {
                    // Made here, where they are constants that are inlined.
                    #output
                    #again
                    let (__result, #(#changed,)*) = __value;
                    #output_name.send(__result, writer)?;
                    #given_back
                    ::core::result::Result::Ok(())
                })
            }

            fn send(item: &Self::Item, writer: &mut #runtime::private::Writer<'_>) -> #result {
                #imports
                #lets
                let #pattern = item;
                let _ = &writer;
                #(#pass_modes.send(#variables, writer)?;)*
                ::core::result::Result::Ok(())
            }

            fn receive(
                returned: &mut #runtime::private::Returned<'_>,
            ) -> ::core::result::Result<#output_type, #runtime::private::CodecError> {
                #imports
                #output
                #output_name.receive(returned.results())
            }

            #take_back
        }
    }
}

/// The constant `ParallelFn::REMOTE`.
pub(crate) fn table(options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    quote! {
        const REMOTE: ::core::option::Option<#runtime::private::Remote<Self>> =
            ::core::option::Option::Some(#runtime::private::Remote::new());
    }
}

/// The constant `OwnedFn::REMOTE_OWNED`.
pub(crate) fn owned_table(options: &Options) -> TokenStream {
    let runtime = &options.runtime;
    quote! {
        const REMOTE_OWNED: ::core::option::Option<#runtime::private::RemoteOwned<Self>> =
            ::core::option::Option::Some(#runtime::private::RemoteOwned::new());
    }
}

/// The trait for owned arguments that cross.
pub(crate) fn owned_functions(function: &Function, options: &Options, generics: &Generics) -> TokenStream {
    let runtime = &options.runtime;
    let name = &function.name;
    let cfgs = &function.attributes.cfgs;
    let (bounds, _, _) = function.generics.split_for_impl();
    let (_, _, clause) = generics.split_for_impl();
    let arguments = function.type_arguments();
    let imports = imports(options);
    let (pass_modes, lets) = pass_modes(function, options);
    let pattern = pattern(&function.parameters);
    let mut sends = TokenStream::new();
    for ((parameter, variable), pass_mode) in
        function.parameters.iter().zip(variables(&function.parameters)).zip(&pass_modes)
    {
        let referent = parameter.referent();
        sends.extend(match parameter.kind() {
            Kind::Value => quote!(#pass_mode.send(#variable, writer)?;),
            _ => quote!(#pass_mode.send(<#referent as #runtime::private::Lend>::lend(#variable), writer)?;),
        });
    }
    let result = quote!(::core::result::Result<(), #runtime::private::CodecError>);
    quote! {
        #(#cfgs)*
        unsafe impl #bounds #runtime::private::ProcessOwnedFn for #name #arguments #clause {
            fn send_owned(item: &Self::Owned, writer: &mut #runtime::private::Writer<'_>) -> #result {
                #imports
                #lets
                let #pattern = item;
                let _ = &writer;
                #sends
                ::core::result::Result::Ok(())
            }
        }
    }
}
