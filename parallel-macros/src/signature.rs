//! The signature of a function as a type, where types in it may be private.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{GenericParam, Generics, Type, Visibility};

use crate::parameter::Parameter;

/// Types that are public wherever a function is.
const PUBLIC: [&str; 50] = [
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "bool",
    "char",
    "str",
    "String",
    "Vec",
    "Option",
    "Result",
    "Box",
    "Arc",
    "Rc",
    "Cow",
    "HashMap",
    "HashSet",
    "BTreeMap",
    "BTreeSet",
    "VecDeque",
    "PathBuf",
    "Path",
    "Duration",
    "std",
    "core",
    "alloc",
    "collections",
    "string",
    "vec",
    "option",
    "result",
    "sync",
    "path",
    "time",
    "borrow",
    "SharedVec",
    "SharedSlice",
    "SharedValue",
    "mut",
    "static",
];

/// See [`Function::signature`](crate::function::Function::signature).
pub(crate) fn signature_type(
    visibility: &Visibility,
    generics: &Generics,
    parameters: &[Parameter],
    output: &Type,
) -> Option<TokenStream> {
    // What is generic may mention types that only its bounds make.
    if matches!(visibility, Visibility::Inherited) || generics.type_params().next().is_some() {
        return None;
    }
    let is_public = |ident: &Ident| {
        let name = ident.to_string();
        PUBLIC.contains(&name.as_str())
            || generics.params.iter().any(|parameter| match parameter {
                GenericParam::Lifetime(parameter) => parameter.lifetime.ident == *ident,
                GenericParam::Type(parameter) => parameter.ident == *ident,
                GenericParam::Const(parameter) => parameter.ident == *ident,
            })
    };
    fn all(tokens: TokenStream, is_public: &impl Fn(&Ident) -> bool) -> bool {
        tokens.into_iter().all(|token| match token {
            TokenTree::Ident(ident) => is_public(&ident),
            TokenTree::Group(group) => all(group.stream(), is_public),
            _ => true,
        })
    }
    let types = parameters.iter().map(|parameter| &parameter.ty);
    if types.clone().chain([output]).all(|ty| all(ty.to_token_stream(), &is_public)) {
        return None;
    }
    Some(quote!(fn(#(#types),*) -> #output))
}
