//! `#[parallel(mode = "process", ..)]` without its mode: functions of the tables in `tests/support` where there are no worker processes.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// The attribute of the runtime, for threads.
#[proc_macro_attribute]
pub fn parallel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments: Vec<TokenTree> = arguments.into_iter().collect();
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let is_mode = |pair: &&[TokenTree]| pair.first().is_some_and(|key| key.to_string() == "mode");
    let kept = arguments.split(is_comma).filter(|pair| !is_mode(pair)).flat_map(|pair| {
        let comma: TokenStream = ",".parse().expect("a comma");
        pair.iter().cloned().chain(comma)
    });
    let arguments = TokenTree::Group(Group::new(Delimiter::Parenthesis, kept.collect()));
    let attribute: TokenStream = "::parallel_runtime::parallel".parse().expect("a path");
    let attribute = attribute.into_iter().chain([arguments]).collect();
    let pound: TokenStream = "#".parse().expect("a sign");
    let attribute = TokenTree::Group(Group::new(Delimiter::Bracket, attribute));
    pound.into_iter().chain([attribute]).chain(item).collect()
}
