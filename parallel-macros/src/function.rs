//! The function that was annotated.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Error, FnArg, GenericParam, Generics, Lifetime, Path, ReturnType, Safety, Signature, Type, Visibility};

use crate::attributes::Attributes;
use crate::documentation;
use crate::lifetimes::{Found, Name, Replace, named, names_in};
use crate::options::{Errors, Mode, Options};
use crate::parameter::{Kind, Parameter, may_borrow};
use crate::signature::signature_type;
use crate::source::Source;
use crate::state::State;

/// A function that has been checked, with a name for every lifetime.
pub(crate) struct Function {
    pub(crate) attributes: Attributes,
    pub(crate) visibility: Visibility,
    /// The type that carries the verbs.
    pub(crate) name: Ident,
    /// Where its name stands.
    pub(crate) span: Span,
    /// The name that messages show.
    pub(crate) shown: String,
    /// The generics of that type: those of the function (and of its `impl` block), and the lifetimes that were named.
    pub(crate) generics: Generics,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) output: Type,
    /// Whether a call can outlive the expression that makes it.
    pub(crate) owned: bool,
    /// Whether it is an `async fn`.
    pub(crate) is_async: bool,
    /// `fn(A, B) -> R`, where one of these types may be private and the function is not. The type of the verbs then has it as a parameter, with a default:
    /// an associated type of a public type cannot be private, but one of `f<fn(Private)>` can. It is also what documentation shows.
    pub(crate) signature: Option<TokenStream>,
    /// What its worker keeps for it.
    pub(crate) state: Option<State>,
    /// What the documentation of the type says.
    pub(crate) about: String,
    /// A name for the lifetime of a scope, and for the scope itself; and one for the lifetime of a pool.
    pub(crate) scope: (Lifetime, Ident),
    pub(crate) pool: Lifetime,
}

/// Checks what does not depend on where the function stands.
pub(crate) fn check(source: &Source, options: &Options, errors: &mut Errors) {
    let signature = &source.signature;
    if let Some(path) = options.state.as_ref().filter(|_| source.kept.is_empty()) {
        let message = "`state` has no parameter to go to: mark one with `#[worker]`, as in `fn f(#[worker] model: &mut Model, ...)`";
        errors.at(path.span(), message);
    }
    for attribute in &source.attributes {
        if is_parallel(attribute.path()) {
            errors.at(attribute.span(), "two `#[parallel]` on one function: put all keys into one");
        }
    }
    if let Some(token) = &signature.constness {
        errors.at(token.span(), "a `const fn` cannot run on a pool: remove `const`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let message = "an `unsafe fn` cannot run on a pool, which cannot keep its promises: wrap it in a safe function";
        errors.at(token.span(), message);
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi.span(), "an `extern` function cannot be annotated: call it from an ordinary function");
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic.span(), "a variadic function cannot be annotated");
    }
}

/// Whether this is the path of our attribute.
pub(crate) fn is_parallel(path: &Path) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == "parallel")
}

impl Function {
    /// Reads the signature. `context` is the generics of the `impl` block around it; receivers have been replaced: `written` is the signature with them.
    pub(crate) fn read(
        source: &Source,
        written: &Signature,
        name: &Ident,
        shown: String,
        context: Option<&Generics>,
        options: &Options,
        errors: &mut Errors,
    ) -> Self {
        let signature = &source.signature;
        let mut taken = HashSet::new();
        names_in(signature.to_token_stream(), &mut taken);
        names_in(TokenStream::from(source.body.clone()), &mut taken);
        if let Some(context) = context {
            names_in(context.to_token_stream(), &mut taken);
        }
        let mut namer = Name::new(taken);
        let mut parameters = Vec::new();
        for (position, input) in signature.inputs.iter().enumerate() {
            match input {
                FnArg::Typed(input) => {
                    let ty = (*input.ty).clone();
                    let mut parameter = Parameter::new(position, input.attrs.clone(), (*input.pat).clone(), ty);
                    namer.begin(parameter.name.to_string().trim_start_matches("__"));
                    namer.visit_type_mut(&mut parameter.ty);
                    parameters.push(parameter);
                }
                FnArg::Receiver(receiver) => errors.at(
                    receiver.span(),
                    "this is a method: put a bare `#[parallel]` on its `impl` block too, which then sees what `self` is",
                ),
            }
        }
        // As documentation shows it.
        if !parameters.iter().any(|parameter| parameter.name == "this")
            && let Some(receiver) = parameters.first_mut().filter(|parameter| parameter.is_receiver)
        {
            receiver.name = Ident::new("this", receiver.name.span());
        }
        if parameters.len() > 12 {
            errors.at(
                signature.inputs.span(),
                "a `#[parallel]` function has at most 12 parameters: group them in a struct",
            );
        }

        let mut output: Type = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        if let Some(lifetime) = elided(&parameters) {
            Replace(lifetime).visit_type_mut(&mut output);
        }
        if matches!(output, Type::Never(_)) {
            errors.at(output.span(), "a function that never returns has no result to wait for");
        }

        let mut generics = signature.generics.clone();
        if let Some(context) = context {
            generics = merged(context, &generics);
        }
        let made = namer.made.iter().map(|lifetime| GenericParam::Lifetime(syn::LifetimeParam::new(lifetime.clone())));
        // Lifetimes stand before types.
        generics.params = made.chain(generics.params).collect();
        generics.lt_token = Some(Default::default());
        generics.gt_token = Some(Default::default());

        // In a signature `&'a T` implies `T: 'a`; in an `impl` that must be said, if `T` may borrow.
        if generics.params.len() > 1 {
            for parameter in &parameters {
                for reference in Found::of(&parameter.ty).references {
                    let referent = &reference.elem;
                    if let Some(lifetime) = &reference.lifetime
                        && may_borrow(referent.to_token_stream(), &generics)
                    {
                        generics.make_where_clause().predicates.push(syn::parse_quote!(#referent: #lifetime));
                    }
                }
            }
        }

        if signature.asyncness.is_some() {
            // A copy is made of what a reference points to, if that owns its data.
            let may_not =
                |parameter: &&Parameter| parameter.kind() == Kind::Mut || Found::of(parameter.referent()).borrows();
            for parameter in parameters.iter().filter(may_not) {
                let way_out = match parameter.kind() {
                    _ if parameter.is_receiver => {
                        "take `self` by value or by `&self`, or make it a function of what it needs"
                    }
                    Kind::Mut => "take a `Vec<T>` or a `SharedVec<T>`, and return it",
                    _ => "take a `String` or a `&str` for `Cow<str>`, and what owns its data for others",
                };
                let message = "what an `async fn` changes or refers to inside its arguments must be its own, since its future may be dropped while the task runs";
                errors.at(parameter.span(), format!("{message}: {way_out}"));
            }
        }

        let borrows = Found::of(&output).borrows();
        let dyns = parameters
            .iter()
            .any(|parameter| parameter.kind() != Kind::Value && matches!(parameter.referent(), Type::TraitObject(_)));
        check_types(&parameters, &output, options.mode, errors);

        let items: Vec<TokenStream> = signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(input) => Some(input.ty.to_token_stream()),
                FnArg::Receiver(_) => None,
            })
            .collect();
        let about = documentation::of_verbs(&shown, written, &items, options);
        let scope_name = if parameters.iter().any(|parameter| parameter.name == "scope") { "__scope" } else { "scope" };
        let scope = (named("scope", "__scope", &namer.taken), Ident::new(scope_name, Span::call_site()));
        let pool = named("pool", "__pool", &namer.taken);
        let shown_signature = signature_type(&source.visibility, &generics, &parameters, &output);
        let mut verbs = name.clone();
        // Lints look at where a name was made: here, not in the user's code, although it points there.
        verbs.set_span(Span::call_site().located_at(name.span()));
        Self {
            attributes: Attributes::sort(&source.attributes),
            visibility: source.visibility.clone(),
            name: verbs,
            span: name.span(),
            shown,
            generics,
            parameters,
            output,
            owned: !borrows && !dyns,
            is_async: signature.asyncness.is_some(),
            signature: shown_signature,
            state: State::read(source, options, errors),
            about,
            scope,
            pool,
        }
    }

    /// `<'a, T, N>`: the arguments of the type of the verbs, where its generics are in scope.
    pub(crate) fn type_arguments(&self) -> TokenStream {
        let arguments = self.generics.params.iter().map(|parameter| match parameter {
            GenericParam::Lifetime(parameter) => parameter.lifetime.to_token_stream(),
            GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
            GenericParam::Const(parameter) => parameter.ident.to_token_stream(),
        });
        let arguments = arguments.chain(self.signature.clone());
        quote!(<#(#arguments),*>)
    }

    /// The function of the verbs' type that calls the plain function and waits for it.
    pub(crate) fn runner(&self) -> Ident {
        Ident::new(if self.is_async { "__run" } else { "inline" }, Span::call_site())
    }

    /// The names of the parameters.
    pub(crate) fn names(&self) -> Vec<&Ident> {
        self.parameters.iter().map(|parameter| &parameter.name).collect()
    }

    /// Whether the function has parameters of its own kind: types, constants.
    pub(crate) fn is_generic(&self) -> bool {
        self.generics.params.iter().any(|parameter| !matches!(parameter, GenericParam::Const(_)))
    }

    /// `<T, N>`: the arguments of `generics` that are not lifetimes, for a path to a function.
    pub(crate) fn arguments(generics: &Generics) -> TokenStream {
        let arguments = generics.params.iter().filter_map(|parameter| match parameter {
            GenericParam::Lifetime(_) => None,
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Const(parameter) => Some(&parameter.ident),
        });
        quote!(<#(#arguments),*>)
    }

    /// `name<'_, T, N>`: the type of the verbs with lifetimes of its own.
    pub(crate) fn with_any_lifetimes(&self) -> TokenStream {
        let name = &self.name;
        let arguments = self.generics.params.iter().map(|parameter| match parameter {
            GenericParam::Lifetime(_) => quote!('_),
            GenericParam::Type(parameter) => {
                let ident = &parameter.ident;
                quote!(#ident)
            }
            GenericParam::Const(parameter) => {
                let ident = &parameter.ident;
                quote!(#ident)
            }
        });
        quote!(#name::<#(#arguments),*>)
    }
}

/// The lifetime of elided ones in the result: that of the only parameter that has one, or of the receiver, which is named
/// `this`.
fn elided(parameters: &[Parameter]) -> Option<Lifetime> {
    let receiver = parameters.first().filter(|parameter| parameter.is_receiver);
    let mut lifetimes: Vec<Lifetime> = Vec::new();
    for parameter in receiver.map_or(parameters, std::slice::from_ref) {
        let found = Found::of(&parameter.ty);
        lifetimes.extend(found.lifetimes.into_iter().cloned());
    }
    lifetimes.dedup();
    if receiver.is_some() || lifetimes.len() == 1 { lifetimes.into_iter().next() } else { None }
}

/// The generics of an `impl` block and of a method in it: lifetimes first.
fn merged(context: &Generics, own: &Generics) -> Generics {
    let mut generics = context.clone();
    let (lifetimes, others): (Vec<_>, Vec<_>) = context
        .params
        .iter()
        .chain(&own.params)
        .cloned()
        .partition(|parameter| matches!(parameter, GenericParam::Lifetime(_)));
    generics.params = lifetimes.into_iter().chain(others).collect();
    if let Some(clause) = &own.where_clause {
        generics.make_where_clause().predicates.extend(clause.predicates.clone());
    }
    generics
}

/// Checks what can be said of types without knowing what they are.
fn check_types(parameters: &[Parameter], output: &Type, mode: Mode, errors: &mut Errors) {
    for ty in Found::of(output).impls {
        errors.at(ty.span(), "the type of a result needs a name here: write it out, or box it");
    }
    for parameter in parameters {
        for ty in Found::of(&parameter.ty).impls {
            let text = ty.to_token_stream().to_string();
            if mode.is_remote() && ["Fn (", "FnMut (", "FnOnce ("].iter().any(|bound| text.contains(bound)) {
                errors.at(
                    ty.span(),
                    "a closure cannot cross to a worker process: pass its data, and annotate the function that uses them; or use `mode = \"thread\"`",
                );
            } else {
                errors.at(
                    ty.span(),
                    "the type of a parameter needs a name here: make it generic, `fn f<T: Trait>(x: T)`",
                );
            }
        }
    }
    if !mode.is_remote() {
        return;
    }
    let found = Found::of(output);
    if let Some(reference) = found.references.first() {
        let message = "a reference cannot come back from a worker process, which has memory of its own: return an owned value, like `String` for `&str` or `Vec<T>` for `&[T]`";
        errors.push(Error::new_spanned(reference, message));
    } else if let Some(lifetime) = found.lifetimes.iter().find(|lifetime| lifetime.ident != "static") {
        errors.push(Error::new_spanned(
            lifetime,
            "a borrow cannot come back from a worker process: return an owned value",
        ));
    }
    for parameter in parameters {
        let inside = parameter.referent();
        let found = Found::of(inside);
        if let Some(reference) = found.references.first() {
            let message = "a reference inside another type cannot cross to a worker process: use an owned type there (`String` for `&str`); only a whole parameter can be a `&T`, `&str`, `&[T]` or `&mut [T]`";
            errors.push(Error::new_spanned(reference, message));
        } else if found.dyns {
            let message = "a trait object cannot cross to a worker process, which would not know its type: use an enum, or `mode = \"thread\"`";
            errors.push(Error::new_spanned(inside, message));
        }
    }
}
