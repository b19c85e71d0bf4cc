//! What is said about mistakes, and where: each message with the words at fault. What only the compiler can say is in `tests/ui`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Meta};

use crate::{methods, shared};

/// What the attributes of these items say, with the words at fault.
fn errors(source: &str) -> Vec<(String, String)> {
    let file: syn::File = syn::parse_str(source).unwrap();
    file.items.into_iter().flat_map(errors_of).collect()
}

fn errors_of(mut item: Item) -> Vec<(String, String)> {
    let attributes = match &mut item {
        Item::Fn(function) => &mut function.attrs,
        Item::Impl(block) => &mut block.attrs,
        Item::Static(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        other => panic!("{}", other.to_token_stream()),
    };
    if let Some(attribute) = take(attributes) {
        return expand(&attribute, item.to_token_stream());
    }
    let Item::Impl(block) = item else { panic!("there is no attribute") };
    let methods = block.items.into_iter().filter_map(|item| match item {
        ImplItem::Fn(mut method) => Some((take(&mut method.attrs)?, method.into_token_stream())),
        _ => None,
    });
    methods.flat_map(|(attribute, method)| expand(&attribute, method)).collect()
}

/// The first attribute of ours, as the compiler takes it.
fn take(attributes: &mut Vec<Attribute>) -> Option<Attribute> {
    let ours = |attribute: &Attribute| ["parallel", "shared"].iter().any(|name| attribute.path().is_ident(name));
    attributes.iter().position(ours).map(|position| attributes.remove(position))
}

fn expand(attribute: &Attribute, item: TokenStream) -> Vec<(String, String)> {
    let arguments = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let expanded = if attribute.path().is_ident("shared") {
        shared::expand(arguments, item)
    } else {
        methods::expand_any(arguments, item)
    };
    let Err(errors) = expanded else { return Vec::new() };
    errors.into_iter().map(|error| (error.span().source_text().unwrap_or_default(), error.to_string())).collect()
}

#[track_caller]
fn case(source: &str, expected: &[(&str, &str)]) {
    let found = errors(source);
    let found: Vec<(&str, &str)> = found.iter().map(|(fault, message)| (fault.as_str(), message.as_str())).collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn unknown_keys_are_told_with_the_key_that_was_meant() {
    case(
        r#"
        #[parallel(mdoe = "process")]
        fn misspelt(x: u32) -> u32 {
            x
        }
        "#,
        &[("mdoe", "unknown key `mdoe`; did you mean `mode`?")],
    );
    for (theirs, ours) in [
        ("workers", "pool"),
        ("n_jobs", "pool"),
        ("max_workers", "pool"),
        ("processes", "pool"),
        ("chunksize", "chunk"),
        ("maxtasksperchild", "max_tasks_per_worker"),
        ("initializer", "init"),
    ] {
        let source = format!("#[parallel({theirs} = 4)] fn called_otherwise(x: u32) -> u32 {{ x }}");
        case(&source, &[(theirs, &format!("unknown key `{theirs}`; did you mean `{ours}`?"))]);
    }
    case(
        r#"
        #[parallel(colour = "red")]
        fn unheard_of(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "colour",
            "unknown key `colour`; the keys are `mode`, `pool`, `timeout`, `retries`, `chunk`, `max_tasks_per_worker`, `memory_limit`, `init`, `state`, `sandbox`, `crate`",
        )],
    );
}

#[test]
fn wrong_values_are_told_with_what_would_be_right() {
    case(
        r#"
        #[parallel(mode = "proces")]
        fn mode(x: u32) -> u32 {
            x
        }
        "#,
        &[(r#""proces""#, r#"`mode` is "thread", "process", "serial" or "dask"; did you mean "process"?"#)],
    );
    case(
        r#"
        #[parallel(mode = process)]
        fn mode_without_quotes(x: u32) -> u32 {
            x
        }
        "#,
        &[("process", r#"`mode` is "thread", "process", "serial" or "dask"; did you mean "process"?"#)],
    );
    case(
        r#"
        #[parallel(pool = "4")]
        fn pool_in_quotes(x: u32) -> u32 {
            x
        }
        "#,
        &[(r#""4""#, "`pool` is a number of workers or the path of a `static` pool: `pool = 4` or `pool = RENDER`")],
    );
    case(
        r#"
        #[parallel(pool = -4)]
        fn negative_pool(x: u32) -> u32 {
            x
        }
        "#,
        &[("-4", "a negative number has no meaning here")],
    );
    case(
        r#"
        #[parallel(pool = 5000, mode = "process")]
        fn enormous_pool(x: u32) -> u32 {
            x
        }
        "#,
        &[("5000", "a pool of processes has at most 1024 workers")],
    );
    case(
        r#"
        #[parallel(timeout = 5)]
        fn timeout_without_unit(x: u32) -> u32 {
            x
        }
        "#,
        &[("5", r#"`timeout` is a duration, like "250ms", "5s" or "2m""#)],
    );
    case(
        r#"
        #[parallel(timeout = "5 parsecs")]
        fn timeout_in_odd_units(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            r#""5 parsecs""#,
            r#"`5 parsecs` is not a duration: write a whole number and a unit, like "250ms", "5s" or "2m" (ns, us, ms, s, m, h), up to some 500 years"#,
        )],
    );
    case(
        r#"
        #[parallel(mode = "process", memory_limit = "lots")]
        fn size(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            r#""lots""#,
            r#"`lots` is not a size: write a whole number and a unit, like "512MiB" or "2GiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB)"#,
        )],
    );
    case(
        r#"
        #[parallel(chunk = 0)]
        fn empty_chunks(x: u32) -> u32 {
            x
        }
        "#,
        &[("0", "`chunk` is at least 1: items in a message")],
    );
    case(
        r#"
        #[parallel(mode = "process", retries = "three")]
        fn retries(x: u32) -> u32 {
            x
        }
        "#,
        &[(r#""three""#, "`retries` is a number: extra tries after a worker died or a task timed out")],
    );
    case(
        r#"
        #[parallel(init = || ())]
        fn init(x: u32) -> u32 {
            x
        }
        "#,
        &[("|| ()", "`init` is the path of a `fn()`, like `init = open_library`")],
    );
    case(
        r#"
        #[parallel(mode)]
        fn no_value(x: u32) -> u32 {
            x
        }
        "#,
        &[("mode", "`mode` needs a value: `mode = ...`")],
    );
    case(
        r#"
        #[parallel(pool = 2, pool = 3)]
        fn twice(x: u32) -> u32 {
            x
        }
        "#,
        &[("pool", "`pool` stands here twice")],
    );
}

#[test]
fn keys_that_mean_nothing_in_a_mode_are_told() {
    case(
        r#"
        #[parallel(memory_limit = "1GiB")]
        fn memory(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "memory_limit",
            r#"`memory_limit` has no meaning with `mode = "thread"` (the default), only with `mode = "process"` or `mode = "dask"`"#,
        )],
    );
    case(
        r#"
        #[parallel(mode = "serial", pool = 4)]
        fn pool(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "pool",
            r#"`pool` has no meaning with `mode = "serial"`, only with `mode = "thread"` or `mode = "process"` or `mode = "dask"`"#,
        )],
    );
    case(
        r#"
        #[parallel(mode = "thread", retries = 2, max_tasks_per_worker = 3)]
        fn two_at_once(x: u32) -> u32 {
            x
        }
        "#,
        &[
            (
                "retries",
                r#"`retries` has no meaning with `mode = "thread"`, only with `mode = "process"` or `mode = "dask"`"#,
            ),
            (
                "max_tasks_per_worker",
                r#"`max_tasks_per_worker` has no meaning with `mode = "thread"`, only with `mode = "process"` or `mode = "dask"`"#,
            ),
        ],
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    case(
        r#"
        #[parallel(mdoe = "process", pool = "four", timeout = "soon")]
        unsafe fn everything(x: impl Copy) -> u32 {
            0
        }
        "#,
        &[
            ("mdoe", "unknown key `mdoe`; did you mean `mode`?"),
            (
                r#""four""#,
                "`pool` is a number of workers or the path of a `static` pool: `pool = 4` or `pool = RENDER`",
            ),
            (
                r#""soon""#,
                r#"`soon` is not a duration: write a whole number and a unit, like "250ms", "5s" or "2m" (ns, us, ms, s, m, h), up to some 500 years"#,
            ),
            (
                "unsafe",
                "an `unsafe fn` cannot run on a pool, which cannot keep its promises: wrap it in a safe function",
            ),
            ("impl Copy", "the type of a parameter needs a name here: make it generic, `fn f<T: Trait>(x: T)`"),
        ],
    );
}

#[test]
fn two_attributes_on_one_function_are_told() {
    case(
        r#"
        #[parallel(pool = 2)]
        #[parallel(mode = "process")]
        fn twice(x: u32) -> u32 {
            x
        }
        "#,
        &[(r#"#[parallel(mode = "process")]"#, "two `#[parallel]` on one function: put all keys into one")],
    );
}

#[test]
fn functions_that_cannot_run_on_a_pool_are_told() {
    case(
        r#"
        #[parallel]
        unsafe fn not_safe(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "unsafe",
            "an `unsafe fn` cannot run on a pool, which cannot keep its promises: wrap it in a safe function",
        )],
    );
    case(
        r#"
        #[parallel]
        const fn constant(x: u32) -> u32 {
            x
        }
        "#,
        &[("const", "a `const fn` cannot run on a pool: remove `const`")],
    );
    case(
        r#"
        #[parallel]
        extern "C" fn foreign(x: u32) -> u32 {
            x
        }
        "#,
        &[(r#"extern "C""#, "an `extern` function cannot be annotated: call it from an ordinary function")],
    );
    case(
        r#"
        #[parallel]
        async fn asynchronous(x: &u32, text: std::borrow::Cow<'_, str>) -> u32 {
            *x + text.len() as u32
        }
        "#,
        &[(
            "std::borrow::Cow<'_, str>",
            "what an `async fn` changes or refers to inside its arguments must be its own, since its future may be dropped while the task runs: take a `String` or a `&str` for `Cow<str>`, and what owns its data for others",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        fn apply(change: impl Fn(u32) -> u32) -> u32 {
            change(1)
        }
        "#,
        &[(
            "impl Fn(u32) -> u32",
            "a closure cannot cross to a worker process: pass its data, and annotate the function that uses them; or use `mode = \"thread\"`",
        )],
    );
    case(
        r#"
        #[parallel]
        fn anonymous(x: impl Copy) -> impl Copy {
            x
        }
        "#,
        &[
            ("impl Copy", "the type of a result needs a name here: write it out, or box it"),
            ("impl Copy", "the type of a parameter needs a name here: make it generic, `fn f<T: Trait>(x: T)`"),
        ],
    );
    case(
        r#"
        #[parallel]
        fn never() -> ! {
            loop {}
        }
        "#,
        &[("!", "a function that never returns has no result to wait for")],
    );
    case(
        r#"
        #[parallel]
        struct NotAFunction;
        "#,
        &[("struct NotAFunction;", "`#[parallel]` goes on a function, or on an `impl` block whose methods it is on")],
    );
}

#[test]
fn methods_are_annotated_in_annotated_blocks() {
    case(
        r#"
        impl Unannotated {
            #[parallel]
            fn method(&self) -> u32 {
                1
            }
        }
        "#,
        &[(
            "&self",
            "this is a method: put a bare `#[parallel]` on its `impl` block too, which then sees what `self` is",
        )],
    );
    case(
        r#"
        #[parallel]
        impl Bare {
            fn method(&self) -> u32 {
                1
            }
        }
        "#,
        &[(
            "Bare",
            "no method of this block is annotated: put `#[parallel(...)]`, under that name, on those that are to run on a pool",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        impl Keys {
            #[parallel]
            fn method(&self) -> u32 {
                1
            }
        }
        "#,
        &[(r#"mode = "process""#, "on an `impl` block `#[parallel]` stands bare: the keys go on its methods")],
    );
    case(
        r#"
        #[parallel]
        impl Clone for Keys {
            #[parallel]
            fn clone(&self) -> Self {
                Keys
            }
        }
        "#,
        &[("Clone", "the methods of a trait cannot be annotated: annotate a function, and call it from the method")],
    );
}

#[test]
fn options_of_workers_belong_to_the_pool_that_is_named() {
    case(
        r#"
        #[parallel(mode = "process", pool = PROCESSES, max_tasks_per_worker = 5, memory_limit = "1GiB", init = prepare)]
        fn processes(x: u32) -> u32 {
            x
        }
        "#,
        &[
            (
                "max_tasks_per_worker",
                "`max_tasks_per_worker` belongs to the workers, and those of `PROCESSES` are set where it is declared: `static PROCESSES: ... = ...::new(..).max_tasks_per_worker(100)`",
            ),
            (
                "memory_limit",
                "`memory_limit` belongs to the workers, and those of `PROCESSES` are set where it is declared: `static PROCESSES: ... = ...::new(..).memory_limit(512 << 20)`",
            ),
            (
                "init",
                "`init` belongs to the workers, and those of `PROCESSES` are set where it is declared: `static PROCESSES: ... = ...::new(..).init(...)`",
            ),
        ],
    );
    case(
        r#"
        #[parallel(pool = THREADS, init = prepare)]
        fn threads(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "init",
            "`init` belongs to the workers, and those of `THREADS` are set where it is declared: `static THREADS: ... = ...::new(..).init(...)`",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process", pool = PROCESSES, timeout = "1s", retries = 2)]
        fn of_the_call(x: u32) -> u32 {
            x
        }
        "#,
        &[],
    );
    case(
        r#"
        #[parallel(mode = "process", sandbox = "loose")]
        fn loose(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            r#""loose""#,
            r#"`sandbox` is "strict": no network, no new program, and no file that `init` has not opened"#,
        )],
    );
    case(
        r#"
        #[parallel(sandbox = "strict")]
        fn thread_in_a_sandbox(x: u32) -> u32 {
            x
        }
        "#,
        &[(
            "sandbox",
            r#"`sandbox` has no meaning with `mode = "thread"` (the default), only with `mode = "process"` or `mode = "dask"`"#,
        )],
    );
}

#[test]
fn async_functions_change_nothing_behind_references() {
    case(
        r#"
        #[parallel]
        async fn borrows(text: &str, numbers: &mut [u64]) -> usize {
            text.len() + numbers.len()
        }
        "#,
        &[(
            "&mut [u64]",
            "what an `async fn` changes or refers to inside its arguments must be its own, since its future may be dropped while the task runs: take a `Vec<T>` or a `SharedVec<T>`, and return it",
        )],
    );
    case(
        r#"
        #[parallel]
        impl Crawler {
            #[parallel]
            async fn fetch(&mut self, url: String) -> usize {
                url.len()
            }
        }
        "#,
        &[(
            "self",
            "what an `async fn` changes or refers to inside its arguments must be its own, since its future may be dropped while the task runs: take `self` by value or by `&self`, or make it a function of what it needs",
        )],
    );
}

#[test]
fn a_worker_parameter_is_one_reference_that_something_makes() {
    let case = |parameters: &str, keys: &str, expected: &[(&str, &str)]| {
        case(&format!("#[parallel({keys})] fn keeps({parameters}) -> u32 {{ 1 }}"), expected);
    };
    case(
        "#[worker] one: &mut Model, #[worker] other: &Model",
        "state = Model::load",
        &[("#[worker]", "a function has at most one `#[worker]` parameter: put both values into one struct")],
    );
    case(
        "#[worker] model: Model",
        "state = Model::load",
        &[("Model", "a `#[worker]` parameter is a reference, `&T` or `&mut T`: the worker keeps the value")],
    );
    case(
        "#[worker] model: &'static Model",
        "state = Model::load",
        &[("'static", "what a worker keeps is lent for one call only: write `&T` or `&mut T` without a lifetime")],
    );
    case(
        "#[worker] model: &Model",
        "mode = \"serial\"",
        &[(
            "#[worker]",
            "`mode = \"serial\"` has no pool whose workers could keep this: say how it is made, `state = path`",
        )],
    );
    case(
        "model: &Model",
        "state = Model::load",
        &[(
            "Model::load",
            "`state` has no parameter to go to: mark one with `#[worker]`, as in `fn f(#[worker] model: &mut Model, ...)`",
        )],
    );
    case(
        "#[worker] model: &Model",
        "state = \"Model::load\"",
        &[("\"Model::load\"", "`state` is the path of a `fn() -> T`, like `state = Model::load`")],
    );
    self::case(
        "#[parallel(state = Model::load)] async fn keeps(#[worker] model: &mut Model) {}",
        &[(
            "&mut Model",
            "many bodies of an `async fn` run at a time on one worker, and share what it keeps: take `&T`, with a `Mutex` in it for what changes",
        )],
    );
}

#[test]
fn references_do_not_come_back_from_processes() {
    case(
        r#"
        #[parallel(mode = "process")]
        fn returned(text: &str) -> &str {
            text
        }
        "#,
        &[(
            "&str",
            "a reference cannot come back from a worker process, which has memory of its own: return an owned value, like `String` for `&str` or `Vec<T>` for `&[T]`",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        fn returned_inside(text: &str) -> Option<&'static str> {
            text.is_empty().then_some("")
        }
        "#,
        &[(
            "&'static str",
            "a reference cannot come back from a worker process, which has memory of its own: return an owned value, like `String` for `&str` or `Vec<T>` for `&[T]`",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        fn returned_by_name<'a>(text: &'a str) -> Cow<'a, str> {
            text.into()
        }
        "#,
        &[("'a", "a borrow cannot come back from a worker process: return an owned value")],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        fn nested(texts: &[&str]) -> usize {
            texts.len()
        }
        "#,
        &[(
            "&str",
            "a reference inside another type cannot cross to a worker process: use an owned type there (`String` for `&str`); only a whole parameter can be a `&T`, `&str`, `&[T]` or `&mut [T]`",
        )],
    );
    case(
        r#"
        #[parallel(mode = "process")]
        fn object(check: &(dyn Fn(u32) -> bool + Sync)) -> bool {
            check(1)
        }
        "#,
        &[(
            "dyn Fn(u32) -> bool + Sync",
            r#"a trait object cannot cross to a worker process, which would not know its type: use an enum, or `mode = "thread"`"#,
        )],
    );
}

#[test]
fn shared_attributes_stand_on_statics_alone() {
    case(
        r#"
        #[shared]
        fn not_a_static() {}
        "#,
        &[(
            "fn",
            "`#[shared]` stands on a static with a value: `#[shared] static HITS: SharedValue<u64> = SharedValue::new(0);`",
        )],
    );
    case(
        r#"
        #[shared]
        static mut COUNTER: SharedValue<u64> = SharedValue::new(0);
        "#,
        &[("mut", "a shared static is changed through its own methods: leave `mut` out")],
    );
    case(
        r#"
        #[shared(size = 3)]
        static WITH_A_KEY: SharedValue<u64> = SharedValue::new(0);
        "#,
        &[("size", r#"`#[shared]` has one key: `crate = "path of parallel-runtime"`"#)],
    );
}

#[test]
fn the_item_stays_without_our_attributes_so_that_an_editor_knows_it() {
    for (item, left) in [
        ("#[parallel(pool = 2)] #[inline] pub fn f(x: u32) -> u32 { x }", "#[inline] pub fn f(x: u32) -> u32 { x }"),
        ("impl S { #[parallel] fn f(&self) {} fn g() {} }", "impl S { fn f(&self) {} fn g() {} }"),
        ("struct S;", "struct S;"),
    ] {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        assert_eq!(methods::without_attributes(tokens(item)).to_string(), tokens(left).to_string());
    }
}

/// The expansion of a function, as it is commonly written.
fn expansion(attribute: &str, function: &str) -> String {
    let tokens = methods::expand_any(attribute.parse().unwrap(), function.parse().unwrap()).unwrap();
    crate::documentation::text(tokens)
}

#[test]
fn documentation_shows_the_signature_by_the_names_of_parameters_and_what_the_attribute_says() {
    let function = "pub fn render(doc: &str, page: u32, scale: &mut [f32]) -> Vec<u8> { Vec::new() }";
    let expanded = expansion("pool = 4, mode = \"process\", timeout = \"5s\"", function);
    let shown = "The verbs of [`render`](fn@render), which runs in worker processes.\\n\\n```text\\n#[parallel(pool = 4, mode = \\\"process\\\", \
                 timeout = \\\"5s\\\")]\\nfn render(doc: &str, page: u32, scale: &mut [f32]) -> Vec<u8>\\n```\\n\\nAn item of `map` and its \
                 like is `(&str, u32, &mut [f32])`.";
    assert!(expanded.contains(shown), "{expanded}");
    for part in ["struct render<'doc, 'scale>", "scope: &'scope", "doc: &'doc str, page: u32, scale: &'scale mut [f32]"]
    {
        assert!(expanded.contains(part), "{part} in {expanded}");
    }
    for part in ["__parallel_0", "__scope", "__pool", "__argument_0: ", "str: 'doc", "u32: ::core::marker::Send"] {
        assert!(!expanded.contains(part), "{part} in {expanded}");
    }
}

/// The words at which an expansion asks the runtime for what not every system has, and what it asks for.
fn needs(attribute: &str) -> Vec<(String, String)> {
    fn collect(tokens: TokenStream, found: &mut Vec<(String, String)>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(name) if name == "__needs" => {
                    let need = tokens[at + 2].to_string();
                    found.push((name.span().source_text().unwrap_or_default(), need));
                }
                TokenTree::Group(group) => collect(group.stream(), found),
                _ => {}
            }
        }
    }
    let tokens = methods::expand_any(attribute.parse().unwrap(), "fn f() {}".parse().unwrap()).unwrap();
    let mut found = Vec::new();
    collect(tokens, &mut found);
    found
}

#[test]
fn what_not_every_system_has_is_asked_for_at_its_word() {
    let at = |word: &str, need: &str| (word.to_owned(), format!("({need})"));
    let all = needs("mode = \"process\", memory_limit = \"1GiB\", timeout = \"1s\", sandbox = \"strict\"");
    assert_eq!(all, [at("\"process\"", "processes"), at("memory_limit", "memory_limit"), at("sandbox", "sandbox")]);
    assert_eq!(needs("mode = \"dask\""), [at("\"dask\"", "processes")]);
    assert_eq!(needs("pool = 2, timeout = \"1s\""), []);
    assert_eq!(needs("mode = \"serial\""), []);
}
