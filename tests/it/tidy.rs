//! What a newcomer relies on: that versions, pages and lists agree.

use std::fs;
use std::path::{Path, PathBuf};

/// The pages of the book.
const BOOK: &str = "parallel-runtime/guide";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Targets of the links in a page, those of its definitions among them.
fn links(page: &str) -> Vec<&str> {
    let inline = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    let defined = page.lines().filter_map(|line| Some(line.strip_prefix('[')?.split_once("]: ")?.1));
    inline.chain(defined).collect()
}

fn pages() -> Vec<PathBuf> {
    let book = fs::read_dir(root().join(BOOK)).unwrap().map(|entry| entry.unwrap().path());
    let chapters = book.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root().join(page));
    chapters.chain(others).collect()
}

#[test]
fn every_chapter_of_the_book_is_in_its_summary_and_its_code_is_compiled() {
    let (summary, compiled) = (read(format!("{BOOK}/SUMMARY.md")), read("parallel-runtime/src/guide.rs"));
    for path in pages().iter().filter(|path| path.starts_with(root().join(BOOK))) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name != "SUMMARY.md" {
            assert!(summary.contains(&format!("({name})")), "{name} is not in {BOOK}/SUMMARY.md");
            assert!(compiled.contains(&format!("{name}\"")), "{name} is not in parallel-runtime/src/guide.rs");
        }
    }
}

#[test]
fn every_link_of_the_book_leads_somewhere_in_the_documentation_of_the_crate_too() {
    let known = read(format!("{BOOK}/links.txt"));
    for page in pages().iter().filter(|path| path.starts_with(root().join(BOOK)) && !path.ends_with("SUMMARY.md")) {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(
                !link.contains(".md"),
                "{}: ({link}) is a link of the book alone: name it in links.txt, and at the end of the page",
                page.display()
            );
        }
        let definitions = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
        for (label, _) in definitions.filter(|(_, target)| target.contains(".md")) {
            assert!(known.contains(&format!("[{label}]: crate::guide")), "{label} is not in {BOOK}/links.txt");
        }
    }
}

/// A text as a part of an address.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'=' | b',' | b';' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[test]
fn the_documentation_of_the_crate_has_the_pictures_of_the_book() {
    let mut files: Vec<_> =
        fs::read_dir(root().join(BOOK).join("pictures")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let definition = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        format!("[{name}]: data:image/svg+xml,{}\n", percent_encoded(&fs::read_to_string(path).unwrap()))
    };
    let wanted: String = files.iter().map(definition).collect();
    let path = root().join(BOOK).join("pictures.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let is_same = fs::read_to_string(&path).is_ok_and(|text| text == wanted);
    assert!(is_same, "a picture has changed: BLESS=1 cargo test --test it -- tidy::the_documentation");
}

#[test]
fn links_of_pages_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://") && !link.contains(['`', '"'])) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} does not exist", page.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap().to_lowercase();
                let titles = text.lines().filter(|line| line.starts_with('#'));
                let anchors = titles.map(|line| {
                    let title = line.trim_start_matches('#').trim();
                    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                    kept.collect::<String>().replace(' ', "-")
                });
                assert!(anchors.into_iter().any(|other| other == anchor), "{}: no title for {link}", page.display());
            }
        }
    }
}

/// The figures that `docs/figures` has measured, by their names.
fn figures() -> Vec<(String, String)> {
    let text = read(format!("{BOOK}/figures.txt"));
    let parts = text.split("== ").skip(1).map(|part| part.split_once('\n').unwrap());
    parts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

#[test]
fn pages_quote_the_figures_that_were_measured() {
    const END: &str = "<!-- end -->";
    let figures = figures();
    let mut quoted = std::collections::BTreeSet::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut parts = text.split("<!-- figures: ");
        let mut wanted = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once(" -->\n").unwrap();
            let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{}: {name} does not end", page.display()));
            let known = figures.iter().find(|(known, _)| known == name);
            let (_, figure) = known.unwrap_or_else(|| panic!("{}: there is no figure {name}", page.display()));
            quoted.insert(name.to_owned());
            wanted += &format!("<!-- figures: {name} -->\n\n{}\n\n{END}{after}", figure.trim_end());
        }
        if wanted != text && std::env::var_os("BLESS").is_some() {
            fs::write(&page, &wanted).unwrap();
        } else {
            assert!(wanted == text, "{} quotes other figures than docs/figures has measured: BLESS=1", page.display());
        }
    }
    assert!(figures.iter().all(|(name, _)| quoted.contains(name)), "figures that no page quotes: {quoted:?} are");
}

#[test]
fn the_minimum_version_of_rust_is_the_same_everywhere() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    for page in ["README.md", "parallel-runtime/guide/getting-started.md", "parallel-runtime/guide/platforms.md"] {
        assert!(read(page).contains(&format!("{version} or newer")), "{page} does not say Rust {version} or newer");
    }
}

#[test]
fn both_crates_have_one_version_and_the_changelog_knows_it() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    for name in ["parallel-macros", "parallel-runtime"] {
        assert!(read(format!("{name}/Cargo.toml")).contains("version.workspace = true"), "{name}");
        let dependency = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        assert!(dependency.contains(version), "{dependency}");
    }
    assert!(read("CHANGELOG.md").contains(&format!("## [{version}]")), "CHANGELOG.md does not know {version}");
}

#[test]
fn every_feature_of_the_runtime_is_in_its_documentation() {
    let manifest = read("parallel-runtime/Cargo.toml");
    let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
    let documentation = read("parallel-runtime/src/lib.rs");
    for feature in features.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = ")) {
        assert!(documentation.contains(&format!("//! | `{}` |", feature.0)), "{} has no line", feature.0);
    }
}

#[test]
fn sections_of_the_article_have_the_same_names_in_both_languages() {
    let names = |text: &str, start: &str, quote: char, end: &str| -> Vec<String> {
        let list = text.split(start).nth(1).unwrap().split(end).next().unwrap();
        let lines = list.lines().filter_map(|line| line.trim().trim_start_matches('(').strip_prefix(quote));
        lines.map(|line| line.split(quote).next().unwrap().to_owned()).collect()
    };
    let ours = names(&read("examples/article/main.rs"), "const SECTIONS", '"', "];\n");
    let theirs = names(&read("examples/python/article.py"), "SECTIONS = {", '"', "\n}");
    assert!(ours.len() > 10);
    assert_eq!(ours, theirs);
}

/// Each file of the runtime that is Rust, by its path in `src`.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_operating_system_is_known_in_one_room() {
    let known = [
        "target_os",
        "libc::",
        "rustix::",
        "windows_sys::",
        "std::os::",
        "/proc/",
        "target_pointer_width",
        "cfg(unix)",
        "cfg(windows)",
    ];
    let mut files = Vec::new();
    ["parallel-runtime", "parallel-macros"].iter().for_each(|name| sources(&root().join(name).join("src"), &mut files));
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !file.components().any(|part| part.as_os_str() == "sys")) {
        let text = fs::read_to_string(file).unwrap();
        // What tests look at, and what users are told, may be one system's.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let words = known.iter().filter(|word| line.contains(**word));
            faults.extend(words.map(|word| format!("{}:{}: `{word}`", file.display(), number + 1)));
        }
    }
    assert!(faults.is_empty(), "outside of sys/:\n{}", faults.join("\n"));
}
