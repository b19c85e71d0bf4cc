//! What the documentation of the type of the verbs says.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Signature;
use syn::visit_mut::VisitMut;

use crate::lifetimes::Ungroup;
use crate::options::Options;

/// The text: what it is, the attribute, the signature, and what an item is. `shown` is the function's path for a link.
pub(crate) fn of_verbs(shown: &str, signature: &Signature, items: &[TokenStream], options: &Options) -> String {
    let mut signature = signature.clone();
    for input in &mut signature.inputs {
        match input {
            syn::FnArg::Typed(input) => input.attrs.clear(),
            syn::FnArg::Receiver(receiver) => receiver.attrs.clear(),
        }
    }
    Ungroup.visit_signature_mut(&mut signature);
    let signature = text(signature.to_token_stream());
    let attribute = match text(options.shown.clone()).as_str() {
        "" => "#[parallel]".to_owned(),
        keys => format!("#[parallel({keys})]"),
    };
    let runtime = text(options.runtime.to_token_stream());
    let place = options.mode.place();
    let item = match items {
        [] => "`()`".to_owned(),
        [one] => format!("`{}`", text(one.clone())),
        many => format!("`({})`", many.iter().cloned().map(text).collect::<Vec<_>>().join(", ")),
    };
    format!(
        "The verbs of [`{shown}`](fn@{shown}), {place}.\n\n```text\n{attribute}\n{signature}\n```\n\n\
         An item of `map` and its like is {item}. See [`#[parallel]`](macro@{runtime}::parallel) for the keys and the verbs."
    )
}

/// Tokens as they are commonly written.
pub(crate) fn text(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    // What came before: whether a word ended, which would run into the next one.
    let mut after_word = false;
    let mut in_operator = false;
    let mut after_keyword = false;
    for token in tokens {
        if std::mem::take(&mut after_keyword) && matches!(token, TokenTree::Group(_)) {
            text.push(' ');
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => (" {", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
                (after_word, in_operator) = (true, false);
            }
            TokenTree::Ident(ident) => {
                if after_word {
                    text.push(' ');
                }
                let ident = ident.to_string();
                text.push_str(&ident);
                (after_word, in_operator) = (true, false);
                after_keyword = ["mut", "const", "dyn", "as", "where"].contains(&ident.as_str());
            }
            TokenTree::Literal(literal) => {
                if after_word {
                    text.push(' ');
                }
                text.push_str(&literal.to_string());
                (after_word, in_operator) = (true, false);
            }
            TokenTree::Punct(punct) => {
                let is_joint = punct.spacing() == Spacing::Joint;
                match punct.as_char() {
                    ',' | ';' => {
                        text.push(punct.as_char());
                        text.push(' ');
                    }
                    // A path, or what stands before a type.
                    ':' if is_joint || in_operator => text.push(':'),
                    ':' => text.push_str(": "),
                    // The end of an arrow.
                    '>' if in_operator => text.push_str("> "),
                    '-' if is_joint => text.push_str(" -"),
                    '=' | '+' => {
                        text.push(' ');
                        text.push(punct.as_char());
                        text.push(' ');
                    }
                    // Before a reference or a lifetime, after a word: `&'a mut T`, `dyn Fn() + 'a`.
                    '\'' | '&' if after_word => {
                        text.push(' ');
                        text.push(punct.as_char());
                    }
                    other => text.push(other),
                }
                after_word = punct.as_char() == '>' && !in_operator;
                in_operator = is_joint && matches!(punct.as_char(), ':' | '-');
            }
        }
    }
    while text.ends_with(' ') {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_written_as_they_commonly_are() {
        let texts = [
            "fn render(doc: &str, page: u32, scale: &mut [f32]) -> Result<Vec<u8>, String>",
            "fn f<'a, T: Clone + Send, const N: usize>(x: &'a mut T, y: [u8; N]) -> Option<std::path::PathBuf> where T: 'a",
            "async fn g(self, f: Box<dyn Fn(u8) -> u8 + Send>)",
            "fn h(&self, x: <T as Trait>::Type)",
            "pool = 4, mode = \"process\", init = library::open",
        ];
        for expected in texts {
            assert_eq!(text(expected.parse().unwrap()), expected);
        }
    }
}
