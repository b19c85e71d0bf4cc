//! `#[shared]` on a static.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, ItemStatic, LitStr, Path, StaticMutability, parse_quote};

/// The static, with a type that finds the same object in every process.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item: ItemStatic = syn::parse2(item).map_err(|error| {
        Error::new(
            error.span(),
            "`#[shared]` stands on a static with a value: `#[shared] static HITS: SharedValue<u64> = SharedValue::new(0);`",
        )
    })?;
    let runtime = runtime(arguments)?;
    if let StaticMutability::Mut(keyword) = &item.mutability {
        return Err(Error::new(keyword.span(), "a shared static is changed through its own methods: leave `mut` out"));
    }
    let ItemStatic { attrs, vis, ident, ty, expr, .. } = &item;
    let ty_span = ty.span();
    // The span makes an error point at the type.
    let shared = quote::quote_spanned!(ty_span=> #runtime::SharedStatic<#ty>);
    let new = quote::quote_spanned!(ty_span=> #runtime::SharedStatic::new);
    Ok(quote! {
        #(#attrs)*
        #vis static #ident: #shared = #new(|| #expr);
    })
}

/// `crate = "path"`, or nothing.
fn runtime(arguments: TokenStream) -> syn::Result<Path> {
    if arguments.is_empty() {
        return Ok(parse_quote!(::parallel_runtime));
    }
    let mut runtime = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("crate") {
            return Err(meta.error("`#[shared]` has one key: `crate = \"path of parallel-runtime\"`"));
        }
        runtime = Some(meta.value()?.parse::<LitStr>()?.parse::<Path>()?);
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    Ok(runtime.unwrap_or_else(|| parse_quote!(::parallel_runtime)))
}
