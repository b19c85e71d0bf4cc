//! Renders the pages of a PDF serially, on threads and in worker processes; then renders untrusted files, some of them hostile, in
//! worker processes that may only compute.
//!
//! `cargo run --release -- --library PATH/libpdfium.so [--quick]`
//!
//! PDFium is not thread-safe: `pdfium-render` has one lock around all calls, so threads wait for each other. Each process has a
//! PDFium of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{DefaultHasher, Hasher};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use parallel_runtime::{ProcessPool, RemoteError, Sandbox, SharedSlice, SharedVec, TaskError, ThreadPool, parallel};
use pdfium_render::prelude::*;

mod files;
#[path = "../../table.rs"]
mod table;

use table::Table;

/// Renders a page of the document that the worker keeps open.
#[parallel(mode = "process")]
fn page(#[worker] document: &PdfDocument<'static>, number: i32) -> Result<u64, RemoteError> {
    draw(document, number).map_err(RemoteError::from_error)
}

/// Renders the first page of a file that may be broken or hostile. The worker has loaded the library before its sandbox closes;
/// afterwards it can open neither files nor sockets. A crash, or too much time or memory, costs this one result.
#[parallel(mode = "process", sandbox = "strict", timeout = "1s")]
fn first_page(#[worker] pdfium: &&'static Pdfium, file: &[u8]) -> Result<u64, RemoteError> {
    pdfium.load_pdf_from_byte_slice(file, None).and_then(|document| draw(&document, 0)).map_err(RemoteError::from_error)
}

/// Renders a page at 144 dpi. Returns a checksum of the pixels.
fn draw(document: &PdfDocument, number: i32) -> Result<u64, PdfiumError> {
    let page = document.pages().get(number)?;
    let pixels = page.render_with_config(&PdfRenderConfig::new().scale_page_by_factor(2.0))?.as_raw_bytes();
    let mut hasher = DefaultHasher::new();
    hasher.write(&pixels);
    Ok(hasher.finish())
}

/// The library of this process, loaded at the first call.
fn load(path: &PathBuf) -> &'static Pdfium {
    static PDFIUM: OnceLock<Pdfium> = OnceLock::new();
    PDFIUM.get_or_init(|| match Pdfium::bind_to_library(path) {
        Ok(bindings) => Pdfium::new(bindings),
        Err(error) => panic!("PDFium cannot be loaded: {error:?}"),
    })
}

/// What a worker keeps that renders many pages of one file.
fn open((library, file): &(PathBuf, SharedSlice<u8>)) -> PdfDocument<'static> {
    let opened = load(library).load_pdf_from_reader(Cursor::new(file.clone()), None);
    opened.unwrap_or_else(|error| panic!("PDFium cannot open the document: {error}"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (pages, rounds) = if quick { (40, 2) } else { (120, 3) };
    let library = std::env::args().skip_while(|argument| argument != "--library").nth(1).map(PathBuf::from);
    let library =
        library.ok_or("--library PATH is missing: libpdfium.so, for example of the Python package pypdfium2")?;
    if let Err(error) = Pdfium::bind_to_library(&library) {
        return Err(format!("PDFium cannot be loaded from {}: {error:?}", library.display()).into());
    }

    let contents: Vec<String> = (0..pages).map(files::content).collect();
    let file = SharedVec::from_slice(&files::pdf(files::SIDE, &contents, &[])).share();
    println!("{pages} pages\n");
    let mut table = Table::new(rounds);

    let config = (library.clone(), file);
    // The memory allocator treats the first thread of a program and all others differently, so the serial work is on another, too.
    let one = ThreadPool::new(1).state_with(config.clone(), open);
    let serial = table.row("serial", || page::on(&one).map(0..pages).into_iter().collect::<Result<Vec<_>, _>>())?;
    one.shutdown();

    let threads = ThreadPool::new(2).state_with(config.clone(), open);
    let threaded =
        table.row("threads", || page::on(&threads).map(0..pages).into_iter().collect::<Result<Vec<_>, _>>())?;

    let processes = ProcessPool::new(2).state_with(config.clone(), open);
    let processed =
        table.row("processes", || page::on(&processes).map(0..pages).into_iter().collect::<Result<Vec<_>, _>>())?;

    let equal = threaded == serial && processed == serial;
    println!("\nresults equal: {}\n", if equal { "yes" } else { "NO" });

    let sound = untrusted(library, &contents[..20], &serial);
    if equal && sound { Ok(()) } else { Err("the results differ".into()) }
}

/// Renders sound, mutated and hostile files. Returns whether the pictures of the sound ones are those of `expected`.
fn untrusted(library: PathBuf, contents: &[String], expected: &[u64]) -> bool {
    let sound: Vec<Vec<u8>> = contents.chunks(1).map(|page| files::pdf(files::SIDE, page, &[])).collect();
    let mutated = (0..10).flat_map(|seed| sound.iter().map(move |file| files::mutate(file, seed)));
    let (names, hostile): (Vec<_>, Vec<_>) = [
        ("a page of 1.2 m by 1.2 m", files::pdf(3_500, &contents[..1], &[])),
        ("a page of 2 m by 2 m", files::pdf(6_000, &contents[..1], &[])),
        ("nested forms, 10^9 uses", files::pdf(files::SIDE, &["/X0 Do".into()], &files::nested(9))),
    ]
    .into_iter()
    .unzip();
    let files: Vec<Vec<u8>> = sound.iter().cloned().chain(mutated).chain(hostile).collect();

    let begun = Instant::now();
    let confined = ProcessPool::new(2).sandbox(Sandbox::strict()).memory_limit(256 << 20).state_with(library, load);
    let results = first_page::on(&confined).try_map(files.iter().map(Vec::as_slice));
    println!("{} files in a sandbox, {:.1} s", files.len(), begun.elapsed().as_secs_f64());

    let (others, hostile) = results.split_at(files.len() - names.len());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    others.iter().for_each(|result| *outcomes.entry(outcome(result)).or_default() += 1);
    outcomes.iter().for_each(|(outcome, count)| println!("{count:>6}  {outcome}"));
    names.iter().zip(hostile).for_each(|(name, result)| println!("  {name}: {}", outcome(result)));

    let equal = others
        .iter()
        .zip(&expected[..sound.len()])
        .all(|(result, sum)| matches!(result, Ok(Ok(found)) if found == sum));
    println!("sound files equal to serial: {}", if equal { "yes" } else { "NO" });
    equal
}

fn outcome(result: &Result<Result<u64, RemoteError>, TaskError>) -> String {
    match result {
        Ok(Ok(_)) => "rendered".to_owned(),
        Ok(Err(error)) => format!("refused by PDFium: {}", error.to_string().split_whitespace().collect::<String>()),
        Err(TaskError::WorkerDied { reason, .. }) => format!("worker died: {reason}"),
        Err(error) => error.to_string(),
    }
}
