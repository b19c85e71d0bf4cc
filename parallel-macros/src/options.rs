//! The attribute's arguments.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitStr, Path, Token, Type, UnOp};

use crate::units;

const KEYS: [&str; 11] = [
    "mode",
    "pool",
    "timeout",
    "retries",
    "chunk",
    "max_tasks_per_worker",
    "memory_limit",
    "init",
    "state",
    "sandbox",
    "crate",
];

/// What keys are called elsewhere: in Python's pools, in joblib, in rayon and tokio.
const SYNONYMS: [(&str, &str); 22] = [
    ("workers", "pool"),
    ("n_jobs", "pool"),
    ("jobs", "pool"),
    ("max_workers", "pool"),
    ("num_workers", "pool"),
    ("processes", "pool"),
    ("threads", "pool"),
    ("num_threads", "pool"),
    ("worker_threads", "pool"),
    ("pool_size", "pool"),
    ("size", "pool"),
    ("backend", "mode"),
    ("kind", "mode"),
    ("time_limit", "timeout"),
    ("deadline", "timeout"),
    ("chunksize", "chunk"),
    ("batch_size", "chunk"),
    ("maxtasksperchild", "max_tasks_per_worker"),
    ("max_tasks_per_child", "max_tasks_per_worker"),
    ("initializer", "init"),
    ("context", "state"),
    ("worker_state", "state"),
];

/// The most workers of a process pool, as in the runtime.
const MOST_WORKERS: u64 = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Thread,
    Process,
    Serial,
    Dask,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
            Self::Serial => "serial",
            Self::Dask => "dask",
        }
    }

    /// Where a function of this mode runs, as the end of a sentence.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Thread => "which runs on threads",
            Self::Process => "which runs in worker processes",
            Self::Serial => "which runs in place",
            Self::Dask => "which runs on a Dask cluster",
        }
    }

    /// Whether its arguments and results cross to another process.
    pub(crate) fn is_remote(self) -> bool {
        matches!(self, Self::Process | Self::Dask)
    }
}

/// What the attribute says.
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) runtime: Path,
    /// All keys and values, as text.
    pub(crate) shown: TokenStream,
    /// Calls that build the `Spec`.
    pub(crate) settings: TokenStream,
    /// Checks of what not every system has, each at its word.
    pub(crate) needs: TokenStream,
    /// What makes the value that each worker keeps.
    pub(crate) state: Option<Type>,
    /// The path of the pool, if it has one.
    pool: Option<String>,
    /// Whether it says where the function runs.
    mode_given: bool,
}

/// `key = value`.
struct Pair {
    key: Ident,
    value: Expr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a keyword.
        let key = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            return Err(Error::new(key.span(), format!("`{key}` needs a value: `{key} = ...`")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: ungroup(input.parse()?) })
    }
}

/// Whether these are arguments of ours: keys and values, at least one.
pub(crate) fn are_keys(arguments: TokenStream) -> bool {
    let parser = Punctuated::<Pair, Token![,]>::parse_terminated;
    let pairs = syn::parse::Parser::parse2(parser, arguments);
    pairs.is_ok_and(|pairs| !pairs.is_empty() && pairs.iter().all(|pair| KEYS.iter().any(|key| pair.key == key)))
}

/// What a macro's variable stands for comes in an invisible group.
fn ungroup(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => ungroup(*group.expr),
        value => value,
    }
}

fn respanned(mut token: TokenTree, span: Span) -> TokenTree {
    token.set_span(span);
    token
}

/// All that is wrong, told at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(Error::new(span, message));
    }

    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

impl Options {
    /// Reads the arguments. Gives something in any case, so that the function can be checked too.
    pub(crate) fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let parser = Punctuated::<Pair, Token![,]>::parse_terminated;
        let pairs = errors.take(syn::parse::Parser::parse2(parser, arguments)).unwrap_or_default();

        let keys = pairs.iter().map(|Pair { key, value }| quote!(#key = #value));
        let mut options = Self {
            shown: quote!(#(#keys),*),
            mode: Mode::Thread,
            runtime: syn::parse_quote!(::parallel_runtime),
            settings: TokenStream::new(),
            needs: TokenStream::new(),
            state: None,
            pool: None,
            mode_given: false,
        };
        if let Some(pair) = pairs.iter().find(|pair| pair.key == "mode") {
            options.mode = errors.take(mode(&pair.value)).unwrap_or(Mode::Thread);
            options.mode_given = true;
        }
        if let Some(Pair { value: Expr::Path(path), .. }) = pairs.iter().find(|pair| pair.key == "pool") {
            options.pool = Some(path.to_token_stream().to_string().replace(' ', ""));
        }
        let mut seen: Vec<&Ident> = Vec::new();
        for Pair { key, value } in &pairs {
            if seen.contains(&key) {
                errors.at(key.span(), format!("`{key}` stands here twice"));
                continue;
            }
            seen.push(key);
            let setting = options.setting(key, value);
            if let Some(tokens) = errors.take(setting) {
                options.settings.extend(tokens);
            }
        }
        options.needs = pairs.iter().filter_map(|pair| options.need(pair)).collect();
        options
    }

    /// A check of what a key needs of the system: only the compiler knows for which one it compiles.
    fn need(&self, Pair { key, value }: &Pair) -> Option<TokenStream> {
        let (need, span) = match key.unraw().to_string().as_str() {
            "mode" if self.mode.is_remote() => (quote!(processes), value.span()),
            "memory_limit" if self.mode.is_remote() => (quote!(memory_limit), key.span()),
            "sandbox" if self.mode.is_remote() => (quote!(sandbox), key.span()),
            _ => return None,
        };
        let runtime: TokenStream =
            self.runtime.to_token_stream().into_iter().map(|token| respanned(token, span)).collect();
        Some(quote_spanned!(span=> #runtime::__needs!(#need);))
    }

    fn setting(&mut self, key: &Ident, value: &Expr) -> syn::Result<TokenStream> {
        use Mode::{Dask, Process, Thread};
        let span = value.span();
        let name = key.unraw().to_string();
        Ok(match name.as_str() {
            "mode" => TokenStream::new(),
            "crate" => {
                self.runtime = text(key, value, "the path of the runtime, like \"::parallel_runtime\"")?
                    .parse_with(Path::parse_mod_style)
                    .map_err(|_| Error::new(span, "`crate` is a path in quotes, like \"::parallel_runtime\""))?;
                TokenStream::new()
            }
            "pool" => {
                self.only_in(key, &[Thread, Process, Dask])?;
                self.pool(value)?
            }
            "chunk" => {
                self.only_in(key, &[Thread, Process, Dask])?;
                let items = at_least_one(key, value, "items in a message")?;
                quote_spanned!(span=> .chunk(#items as usize))
            }
            "timeout" => {
                self.only_in(key, &[Thread, Process, Dask])?;
                let text = text(key, value, "a duration, like \"250ms\", \"5s\" or \"2m\"")?;
                let nanoseconds = units::duration(&text.value()).map_err(|message| Error::new(span, message))?;
                quote_spanned!(span=> .timeout(#nanoseconds))
            }
            "retries" => {
                self.only_in(key, &[Process, Dask])?;
                let retries = number(key, value, "extra tries after a worker died or a task timed out")?;
                let retries =
                    u32::try_from(retries).map_err(|_| Error::new(span, "so many retries would never end"))?;
                quote_spanned!(span=> .retries(#retries))
            }
            "max_tasks_per_worker" => {
                self.only_in(key, &[Process, Dask])?;
                self.not_of_the_pool(key, "100")?;
                let tasks = at_least_one(key, value, "tasks after which a worker is replaced")?;
                quote_spanned!(span=> .max_tasks_per_worker(#tasks))
            }
            "memory_limit" => {
                self.only_in(key, &[Process, Dask])?;
                self.not_of_the_pool(key, "512 << 20")?;
                let text = text(key, value, "a size, like \"512MiB\"")?;
                let bytes = units::size(&text.value()).map_err(|message| Error::new(span, message))?;
                quote_spanned!(span=> .memory_limit(#bytes))
            }
            "init" => {
                self.only_in(key, &[Thread, Process, Dask])?;
                self.not_of_the_pool(key, "...")?;
                let Expr::Path(path) = value else {
                    return Err(Error::new(span, "`init` is the path of a `fn()`, like `init = open_library`"));
                };
                quote_spanned!(span=> .init(#path))
            }
            "state" => {
                let Expr::Path(path) = value else {
                    return Err(Error::new(span, "`state` is the path of a `fn() -> T`, like `state = Model::load`"));
                };
                self.state = Some(syn::parse2(path.to_token_stream())?);
                TokenStream::new()
            }
            "sandbox" => {
                self.only_in(key, &[Process, Dask])?;
                self.not_of_the_pool(key, "Sandbox::strict()")?;
                let what = "\"strict\": no network, no new program, and no file that `init` has not opened";
                if text(key, value, what)?.value() != "strict" {
                    return Err(Error::new(span, format!("`sandbox` is {what}")));
                }
                let runtime = &self.runtime;
                quote_spanned!(span=> .sandbox(#runtime::private::strict()))
            }
            _ => {
                let other_name = SYNONYMS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
                let message = match other_name.or_else(|| units::most_like(&name, &KEYS)) {
                    Some(like) => format!("unknown key `{name}`; did you mean `{like}`?"),
                    None => format!("unknown key `{name}`; the keys are `{}`", KEYS.join("`, `")),
                };
                return Err(Error::new(key.span(), message));
            }
        })
    }

    fn pool(&self, value: &Expr) -> syn::Result<TokenStream> {
        let span = value.span();
        let what = "a number of workers or the path of a `static` pool: `pool = 4` or `pool = RENDER`";
        match value {
            Expr::Path(path) => Ok(match self.mode {
                Mode::Process => quote_spanned!(span=> .process_pool(&#path)),
                Mode::Dask => quote_spanned!(span=> .dask_pool(&#path)),
                _ => quote_spanned!(span=> .thread_pool(&#path)),
            }),
            _ => {
                let workers = integer(value).ok_or_else(|| Error::new(span, format!("`pool` is {what}")))??;
                if self.mode.is_remote() && workers > MOST_WORKERS {
                    return Err(Error::new(span, format!("a pool of processes has at most {MOST_WORKERS} workers")));
                }
                Ok(quote_spanned!(span=> .workers(#workers as usize)))
            }
        }
    }

    /// An option of workers means nothing for a function whose pool has been made elsewhere.
    fn not_of_the_pool(&self, key: &Ident, value: &str) -> syn::Result<()> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let message = format!(
            "`{key}` belongs to the workers, and those of `{pool}` are set where it is declared: `static {pool}: ... = ...::new(..).{key}({value})`"
        );
        Err(Error::new(key.span(), message))
    }

    fn only_in(&self, key: &Ident, modes: &[Mode]) -> syn::Result<()> {
        if modes.contains(&self.mode) {
            return Ok(());
        }
        let names: Vec<String> = modes.iter().map(|mode| format!("`mode = \"{}\"`", mode.name())).collect();
        let default = if self.mode_given { "" } else { " (the default)" };
        let message = format!(
            "`{key}` has no meaning with `mode = \"{}\"`{default}, only with {}",
            self.mode.name(),
            names.join(" or ")
        );
        Err(Error::new(key.span(), message))
    }

    /// The `Mode` of the runtime.
    pub(crate) fn mode_tokens(&self) -> TokenStream {
        match self.mode {
            Mode::Thread => quote!(Thread),
            Mode::Process => quote!(Process),
            Mode::Serial => quote!(Serial),
            Mode::Dask => quote!(Dask),
        }
    }
}

fn mode(value: &Expr) -> syn::Result<Mode> {
    let wrong = |found: &str| {
        let like = units::most_like(found, &["thread", "process", "serial", "dask"]);
        let hint = like.map_or_else(String::new, |like| format!("; did you mean \"{like}\"?"));
        Error::new(value.span(), format!("`mode` is \"thread\", \"process\", \"serial\" or \"dask\"{hint}"))
    };
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => match text.value().as_str() {
            "thread" => Ok(Mode::Thread),
            "process" => Ok(Mode::Process),
            "serial" => Ok(Mode::Serial),
            "dask" => Ok(Mode::Dask),
            other => Err(wrong(other)),
        },
        other => Err(wrong(other.to_token_stream().to_string().as_str())),
    }
}

fn text<'e>(key: &Ident, value: &'e Expr, what: &str) -> syn::Result<&'e LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        other => Err(Error::new(other.span(), format!("`{key}` is {what}"))),
    }
}

/// A number; `None` if the value is not one at all.
fn integer(value: &Expr) -> Option<syn::Result<u64>> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Some(number.base10_parse()),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            Some(Err(Error::new(value.span(), "a negative number has no meaning here")))
        }
        _ => None,
    }
}

fn number(key: &Ident, value: &Expr, what: &str) -> syn::Result<u64> {
    integer(value).unwrap_or_else(|| Err(Error::new(value.span(), format!("`{key}` is a number: {what}"))))
}

fn at_least_one(key: &Ident, value: &Expr, what: &str) -> syn::Result<u64> {
    match number(key, value, what)? {
        0 => Err(Error::new(value.span(), format!("`{key}` is at least 1: {what}"))),
        number => Ok(number),
    }
}
