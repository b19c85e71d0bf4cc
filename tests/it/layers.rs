//! The rooms of both crates and what they may import, as ARCHITECTURE.md says: a room imports rooms below it, and a file of a room only
//! files of it that do not import it, with `mod.rs` on top.
//!
//! What is behind `#[cfg(test)]` may import everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

#[test]
fn rooms_import_only_what_is_below_them_and_files_one_way() {
    let page = include_str!("../../ARCHITECTURE.md");
    for name in ["parallel-runtime", "parallel-macros"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(name).join("src");
        let mut files = Vec::new();
        collect_files(&root, &root, &mut files);
        let faults = faults(&rooms(page, name), &files);
        assert!(faults.is_empty(), "{name}, beside the block in ARCHITECTURE.md:\n{}", faults.join("\n"));
    }
}

/// A line of the block: rooms of one level, and what they may import.
struct Level {
    rooms: Vec<String>,
    /// `None`: all that is below.
    imports: Option<Vec<String>>,
}

/// The block of a crate: from a line with its name alone to the end of the block.
fn rooms(page: &str, name: &str) -> Vec<Level> {
    let start = format!("```text\n{name}\n");
    let block = page.split(&start).nth(1).and_then(|rest| rest.split("```").next());
    let words = |text: &str| text.split(&[',', ' '][..]).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let mut levels: Vec<Level> = Vec::new();
    for line in block.unwrap_or_else(|| panic!("no block begins with {name}")).lines() {
        let (rooms, imports) = line.split_once("->").unwrap_or_else(|| panic!("no `->`: {line}"));
        let imports: Vec<String> = words(imports);
        let everything = imports == ["*"];
        levels.push(Level { rooms: words(rooms), imports: (!everything).then_some(imports) });
    }
    levels
}

/// A source file without its tests.
struct File {
    /// Under `src`.
    path: PathBuf,
    /// Its module, from the crate's root. Files that stand for each other (`no_spans.rs` for `spans`) have the same.
    module: Vec<String>,
    imports: BTreeSet<Import>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    /// From the crate's root.
    path: Vec<String>,
    is_public: bool,
}

fn collect_files(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push(File::new(path.strip_prefix(root).unwrap(), &text));
        }
    }
}

impl File {
    fn new(path: &Path, text: &str) -> Self {
        let mut module: Vec<String> =
            path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        // Implementations of one need, of which a system has one.
        if module.len() == 3 && module[0] == "sys" {
            module[1] = "system".to_owned();
        }
        let last = module.pop().unwrap();
        if last != "mod" && (last != "lib" || !module.is_empty()) {
            module.push(last.strip_prefix("no_").unwrap_or(&last).to_owned());
        }
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut scan = Scan { imports: BTreeSet::new(), children: BTreeSet::new() };
        scan.scan(tokens, &module);
        Self { path: path.to_owned(), module, imports: scan.imports }
    }

    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }
}

/// Finds paths.
struct Scan {
    imports: BTreeSet<Import>,
    /// Modules that the file declares.
    children: BTreeSet<String>,
}

impl Scan {
    fn scan(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let ident = |at: usize| match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
            _ => None,
        };
        let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
        let is_path = |at: usize| is(at, ':') && is(at + 1, ':');
        let (mut at, mut is_public) = (0, false);
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let attribute = at + 1 + usize::from(is(at + 1, '!'));
                    let text = tokens.get(attribute).map(ToString::to_string).unwrap_or_default();
                    at = attribute + 1;
                    let text: String = text.split_whitespace().collect();
                    if text == "[cfg(test)]" || text.starts_with("[cfg(all(test,") {
                        at = after_item(&tokens, at);
                    }
                    continue;
                }
                TokenTree::Ident(word) if *word == "pub" => {
                    is_public = true;
                    // `pub(in path)` imports nothing.
                    let restricted = matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
                    at += 1 + usize::from(restricted);
                    continue;
                }
                TokenTree::Ident(word) if *word == "use" => {
                    let end = (at..tokens.len()).find(|at| is(*at, ';')).unwrap_or(tokens.len());
                    let mut trees = Vec::new();
                    use_trees(&tokens[at + 1..end], &[], &mut trees);
                    for tree in trees {
                        self.import(&tree, module, is_public);
                    }
                    at = end;
                }
                TokenTree::Ident(word) if *word == "mod" => {
                    if let (Some(name), Some(next)) = (ident(at + 1), tokens.get(at + 2)) {
                        let inner = [module, std::slice::from_ref(&name)].concat();
                        if let TokenTree::Group(group) = next {
                            self.scan(group.stream(), &inner);
                            at += 2;
                        } else {
                            self.imports.insert(Import { path: inner, is_public: false });
                            self.children.insert(name);
                            at += 1;
                        }
                    }
                }
                TokenTree::Ident(_)
                    if is_path(at + 1) && !(at >= 2 && is_path(at - 2) && !starts_after_colon(&tokens, at)) =>
                {
                    let mut path = vec![ident(at).unwrap()];
                    while is_path(at + 1) {
                        let Some(next) = ident(at + 3) else { break };
                        path.push(next);
                        at += 3;
                    }
                    self.import(&path, module, false);
                }
                TokenTree::Group(group) => self.scan(group.stream(), module),
                _ => {}
            }
            is_public = false;
            at += 1;
        }
    }

    fn import(&mut self, path: &[String], module: &[String], is_public: bool) {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let path = match path[0].as_str() {
            "crate" | "parallel_runtime" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" => [&module[..module.len().saturating_sub(supers)], &path[supers..]].concat(),
            child if self.children.contains(child) => [module, path].concat(),
            _ => return,
        };
        self.imports.insert(Import { path, is_public });
    }
}

/// Whether the `::` before a token is that of a path that begins with it, and not the middle of one.
fn starts_after_colon(tokens: &[TokenTree], at: usize) -> bool {
    !matches!(tokens.get(at.wrapping_sub(3)), Some(TokenTree::Ident(_)))
}

/// Where the item that begins here ends.
fn after_item(tokens: &[TokenTree], from: usize) -> usize {
    let ends = |tree: &TokenTree| match tree {
        TokenTree::Punct(punct) => punct.as_char() == ';' || punct.as_char() == ',',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    (from..tokens.len()).find(|at| ends(&tokens[*at])).map_or(tokens.len(), |at| at + 1)
}

/// The paths of `a::{b, c::d}`.
fn use_trees(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if *word == "as" => break,
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                inner.split(is_comma).filter(|part| !part.is_empty()).for_each(|part| use_trees(part, &path, found));
                assert_eq!(at + 1, tokens.len(), "a group ends a path");
                return;
            }
            _ => {}
        }
    }
    // `{self, …}`
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if !path.is_empty() {
        found.push(path);
    }
}

/// All that is against the rules.
fn faults(levels: &[Level], files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    let level_of = |room: &str| levels.iter().position(|level| level.rooms.iter().any(|other| other == room));
    let mut used: BTreeSet<(usize, &str)> = BTreeSet::new();
    for file in files {
        let (room, path) = (file.room(), file.path.display());
        let Some(own) = level_of(room) else {
            faults.push(format!("{path}: no room `{room}` is listed"));
            continue;
        };
        for Import { path: import, is_public } in &file.imports {
            let Some(other) = import.first().filter(|other| *other != room) else { continue };
            let shown = import.join("::");
            let Some(level) = level_of(other) else {
                faults.push(format!("{path}: `crate::{shown}` is in no room: import it from where it is defined"));
                continue;
            };
            used.insert((own, levels[level].rooms.iter().find(|room| *room == other).unwrap()));
            let hides = *is_public && room != "lib" && room != "private";
            if hides {
                faults.push(format!("{path}: `pub use crate::{shown}` hides an import of `{other}`"));
            }
            if room == "lib" {
                continue;
            }
            if level == own {
                faults.push(format!("{path}: `crate::{shown}` goes sideways, from `{room}` to `{other}`"));
            } else if level < own {
                faults.push(format!("{path}: `crate::{shown}` goes upwards, from `{room}` to `{other}`"));
            } else if levels[own].imports.as_ref().is_some_and(|imports| !imports.contains(other)) {
                faults.push(format!("{path}: `crate::{shown}`: `{room}` may not import `{other}`"));
            }
        }
    }
    for (position, level) in levels.iter().enumerate() {
        for room in &level.rooms {
            if !files.iter().any(|file| file.room() == room) {
                faults.push(format!("`{room}` is listed, and has no file"));
            }
        }
        for import in level.imports.iter().flatten() {
            match level_of(import) {
                None => faults.push(format!("`{import}` is imported, and not listed")),
                Some(below) if below <= position => faults.push(format!("`{import}` is not below {:?}", level.rooms)),
                Some(_) if !used.contains(&(position, import.as_str())) => {
                    faults.push(format!("{:?} may import `{import}`, and does not", level.rooms));
                }
                Some(_) => {}
            }
        }
    }
    for circle in circles(files) {
        let mut fault = "a circle of files, or one that imports from a `mod.rs` above it:".to_owned();
        circle.iter().for_each(|module| write!(fault, " {module}").unwrap());
        faults.push(fault);
    }
    faults
}

/// Files of one room that import each other, by their modules.
fn circles(files: &[File]) -> Vec<Vec<String>> {
    let modules: BTreeMap<&[String], usize> =
        files.iter().enumerate().map(|(position, file)| (file.module.as_slice(), position)).collect();
    let reached = |from: usize| {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
        while let Some(position) = todo.pop() {
            let room = files[position].room();
            let same = files.iter().filter(|file| file.module == files[position].module);
            for import in same.flat_map(|file| &file.imports) {
                let owner = (1..=import.path.len()).rev().find_map(|len| modules.get(&import.path[..len]));
                let Some(&other) = owner else { continue };
                let is_inside = files[other].room() == room && files[other].module != files[position].module;
                if is_inside && seen.insert(other) {
                    todo.push(other);
                }
            }
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(reached).collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for position in 0..files.len() {
        let circle = reached[position].iter().filter(|other| reached[**other].contains(&position));
        let mut circle: Vec<String> = circle.map(|other| files[*other].module.join("::")).collect();
        circle.sort();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

/// Each rule finds what breaks it.
#[test]
fn the_rules_find_what_breaks_them() {
    let page = "```text\nx\nlib -> *\nhigh -> low\nlow, other -> base\nbase ->\n```";
    let check = |sources: &[(&str, &str)]| {
        let used = [
            ("lib.rs", "mod high; mod low;"),
            ("high/mod.rs", "mod a; use crate::low::Low;"),
            ("high/a.rs", ""),
            ("low.rs", "use crate::base;"),
            ("other.rs", ""),
            ("base.rs", ""),
        ];
        let replaced = |path: &str| sources.iter().any(|(other, _)| *other == path);
        let kept = used.iter().filter(|(path, _)| !replaced(path)).chain(sources);
        let files: Vec<File> = kept.map(|(path, text)| File::new(Path::new(path), text)).collect();
        faults(&rooms(page, "x"), &files).join("\n")
    };
    assert_eq!(check(&[]), "");
    let finds = |path: &str, text: &str, fault: &str| {
        let found = check(&[(path, text)]);
        assert!(found.contains(fault), "{path}: {text}: {found:?}");
    };
    finds("base.rs", "use crate::low::Low;", "goes upwards");
    finds("base.rs", "fn f() { let _ = [crate::low::f()]; }", "goes upwards");
    finds("base.rs", "macro_rules! m { () => { $crate::low::f() }; }", "goes upwards");
    finds("base.rs", "use super::low::Low;", "goes upwards");
    finds("base.rs", "use crate::{low::{Low, High as H}};", "goes upwards");
    finds("other.rs", "use crate::low::Low;", "goes sideways");
    finds("high/a.rs", "use crate::base::Base;", "may not import");
    finds("high/a.rs", "pub(crate) use crate::low::Low;", "hides an import");
    finds("high/a.rs", "use crate::Exported;", "is in no room");
    finds("new.rs", "", "no room `new` is listed");
    finds("low.rs", "", "may import `base`, and does not");
    finds("high/a.rs", "use super::High;", "a circle");
    finds("high/a.rs", "mod c { fn f() -> super::super::High { loop {} } }", "a circle");
    for harmless in [
        "// use crate::high::High;\n/// [`crate::high`]\nfn f() {}",
        "fn f() -> &'static str { \"crate::high::f\" }",
        "#[cfg(test)]\nmod tests { use crate::high::High; }",
        "#[cfg(test)]\nuse crate::high::High;",
        "pub(in crate::high) fn f() {}",
        "use std::base::low;",
    ] {
        assert_eq!(check(&[("other.rs", harmless)]), "", "{harmless}");
    }
}
