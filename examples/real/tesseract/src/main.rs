//! Reads the text of images with Tesseract serially, on threads and in worker processes.
//!
//! `cargo run --release [-- --quick]`
//!
//! For each image Tesseract starts OpenMP threads of its own, which mostly wait for each other, and use up a processor while they
//! do. `OMP_THREAD_LIMIT=1` turns them off. The variable is read when the library is loaded, so it is too late for a program to set
//! it for itself, but a pool can set it for its workers.

use std::error::Error;

use fontdue::{Font, FontSettings};
use parallel_runtime::{ProcessPool, RemoteError, ThreadPool, parallel};
use serde::{Deserialize, Serialize};
use tesseract_plumbing::TessBaseApi;

#[path = "../../table.rs"]
mod table;

use table::Table;

static READERS: ProcessPool = ProcessPool::new(2).env(&[("OMP_THREAD_LIMIT", "1")]);

/// A page in shades of grey.
#[derive(Serialize, Deserialize)]
struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Reads the text of an image, with the engine that the worker keeps.
#[parallel(pool = READERS, mode = "process", state = engine)]
fn read(#[worker] engine: &mut TessBaseApi, image: &Image) -> Result<String, RemoteError> {
    let (width, height) = (image.width as i32, image.height as i32);
    engine.set_image(&image.pixels, width, height, 1, width).map_err(RemoteError::from_error)?;
    engine.set_source_resolution(150);
    let text = engine.get_utf8_text().map_err(RemoteError::from_error)?;
    Ok(text.as_ref().to_string_lossy().into_owned())
}

/// Starts an engine, which reads the model for English.
fn engine() -> TessBaseApi {
    start().unwrap_or_else(|error| panic!("{error}"))
}

fn start() -> Result<TessBaseApi, String> {
    let mut engine = TessBaseApi::create();
    match engine.init_2(None, Some(c"eng")) {
        Ok(()) => Ok(engine),
        Err(error) => Err(format!("Tesseract has no data for English (Debian: tesseract-ocr-eng): {error}")),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (pages, lines, rounds) = if quick { (4, 6, 1) } else { (8, 12, 2) };
    drop(start()?);

    let font = Font::from_bytes(dejavu::serif::regular(), FontSettings::default())?;
    let texts: Vec<Vec<String>> = (0..pages).map(|page| text(page, lines)).collect();
    let images: Vec<Image> = texts.iter().map(|text| draw(&font, text)).collect();
    println!("{pages} images of {lines} lines\n");

    let mut table = Table::new(rounds);
    let single = ProcessPool::new(1).env(&[("OMP_THREAD_LIMIT", "1")]);
    let alone = table.row("one process, OMP_THREAD_LIMIT=1", || all(read::on(&single).map(&images)))?;
    let processed = table.row("two processes, OMP_THREAD_LIMIT=1", || all(read::map(&images)))?;

    let limit = std::env::var("OMP_THREAD_LIMIT").unwrap_or_else(|_| "not set".to_owned());
    println!("OMP_THREAD_LIMIT of the program: {limit}");
    let serial = table.row("serial", || images.iter().map(read::inline).collect::<Result<Vec<_>, _>>())?;
    let threads = ThreadPool::new(2);
    let threaded = table.row("two threads", || all(read::on(&threads).map(&images)))?;
    let inheriting = ProcessPool::new(2);
    let inherited = table.row("two processes", || all(read::on(&inheriting).map(&images)))?;

    let equal = [&alone, &processed, &threaded, &inherited].into_iter().all(|results| *results == serial);
    println!("\nresults equal: {}", if equal { "yes" } else { "NO" });

    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let pairs = texts.iter().zip(&serial).flat_map(|(text, read)| words(&text.join(" ")).into_iter().zip(words(read)));
    let (right, all) = pairs.fold((0, 0), |(right, all), (word, read)| (right + usize::from(word == read), all + 1));
    println!("{right} of {all} words are read as they were written");
    if equal { Ok(()) } else { Err("the results differ".into()) }
}

fn all(results: Vec<Result<String, RemoteError>>) -> Result<Vec<String>, RemoteError> {
    results.into_iter().collect()
}

/// Lines of made-up text.
fn text(page: u32, lines: usize) -> Vec<String> {
    const WORDS: [&str; 16] = [
        "goose", "flies", "over", "the", "frozen", "lake", "winter", "comes", "early", "north", "wind", "carries",
        "white", "feathers", "quietly", "home",
    ];
    let mut random = page + 1;
    let mut word = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        WORDS[(random >> 28) as usize]
    };
    (0..lines).map(|_| [(); 8].map(|()| word()).join(" ")).collect()
}

/// Black text on white, 24 pixels high.
fn draw(font: &Font, lines: &[String]) -> Image {
    let (width, height) = (1000, 40 * lines.len() + 40);
    let mut pixels = vec![255_u8; width * height];
    for (line, baseline) in lines.iter().zip((40..).step_by(40)) {
        let mut left = 30.0;
        for letter in line.chars() {
            let (metrics, coverage) = font.rasterize(letter, 24.0);
            let top = baseline - metrics.height as i32 - metrics.ymin;
            for (row, shades) in coverage.chunks(metrics.width.max(1)).enumerate() {
                let start = (top as usize + row) * width + (left as i32 + metrics.xmin) as usize;
                pixels[start..].iter_mut().zip(shades).for_each(|(pixel, shade)| *pixel = pixel.saturating_sub(*shade));
            }
            left += metrics.advance_width;
        }
    }
    Image { width, height, pixels }
}
