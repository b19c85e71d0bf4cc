//! Reads compressed HDF5 files serially, on threads, in worker processes, and in worker processes that read into shared memory.
//!
//! `cargo run --release [-- --quick]`
//!
//! The HDF5 library has one lock around everything it does, decompression included. Threads therefore wait for each other; each
//! process has a library, and a lock, of its own.

use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use parallel_runtime::{RemoteError, SharedVec, ThreadPool, parallel};
use serde::{Deserialize, Serialize};

#[path = "../../table.rs"]
mod table;

use table::Table;

const DATASET: &str = "values";

/// What a file is reduced to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Summary {
    min: f64,
    max: f64,
    sum: f64,
}

impl Summary {
    fn of(values: &[f64]) -> Self {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { min, max, sum: values.iter().sum() }
    }
}

/// Writes a file of made-up measurements: a wave with noise. All values are multiples of 1/64, so their sum is exact in any
/// order.
#[parallel(pool = 2, mode = "process")]
fn write(path: &Path, len: usize, seed: u64) -> Result<(), RemoteError> {
    let mut random = seed;
    let values: Vec<f64> = (0..len)
        .map(|index| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let noise = (random >> 57) as f64 / 64.0;
            ((index as f64 / 5_000.0).sin() * 64_000.0).round() / 64.0 + noise
        })
        .collect();
    let write = || {
        let file = hdf5::File::create(path)?;
        let dataset = file.new_dataset::<f64>().shape(len).chunk(1 << 16).shuffle().deflate(4).create(DATASET)?;
        dataset.write(&values)
    };
    write().map_err(RemoteError::from_error)
}

/// Reads a file and returns its summary.
#[parallel(pool = 2, mode = "process")]
fn summary(path: &Path) -> Result<Summary, RemoteError> {
    values(path).map(|values| Summary::of(&values)).map_err(RemoteError::from_error)
}

/// Reads a file and returns all its values, which are copied to the caller.
#[parallel(pool = 2, mode = "process")]
fn copied(path: &Path) -> Result<Vec<f64>, RemoteError> {
    values(path).map_err(RemoteError::from_error)
}

/// Reads a file into `part`. If `part` belongs to a `SharedVec`, HDF5 decompresses straight into the memory of the caller.
#[parallel(pool = 2, mode = "process")]
fn load(path: &Path, part: &mut [f64]) -> Result<Summary, RemoteError> {
    let read = hdf5::File::open(path).and_then(|file| file.dataset(DATASET)?.read_into_raw(part));
    read.map(|_| Summary::of(part)).map_err(RemoteError::from_error)
}

fn values(path: &Path) -> hdf5::Result<Vec<f64>> {
    hdf5::File::open(path)?.dataset(DATASET)?.read_raw()
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let folder = std::env::temp_dir().join(format!("parallel-hdf5-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let compared = compare(&folder, quick);
    std::fs::remove_dir_all(&folder)?;
    compared
}

fn compare(folder: &Path, quick: bool) -> Result<(), Box<dyn Error>> {
    let (files, len, rounds) = if quick { (8, 1_000_000, 2) } else { (16, 2_000_000, 3) };
    let paths: Vec<PathBuf> = (0..files).map(|number| folder.join(format!("{number:02}.h5"))).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let written = write::map(paths.iter().zip(0..).map(|(path, seed)| (*path, len, seed)));
    written.into_iter().collect::<Result<Vec<()>, _>>()?;
    let bytes = paths.iter().map(|path| Ok(path.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    println!(
        "{files} files, {} MB of values in {} MB (shuffle, gzip)\n",
        files * len * 8 / 1_000_000,
        bytes / 1_000_000
    );

    let mut table = Table::new(rounds);
    let serial =
        table.row("serial", || paths.iter().map(|path| summary::inline(path)).collect::<Result<Vec<_>, _>>())?;

    let threads = ThreadPool::new(2);
    let threaded =
        table.row("threads", || summary::on(&threads).map(paths.clone()).into_iter().collect::<Result<Vec<_>, _>>())?;

    let processed =
        table.row("processes", || summary::map(paths.clone()).into_iter().collect::<Result<Vec<_>, _>>())?;

    let copies = table.row("processes, all values copied to the program", || {
        copied::map(paths.clone()).into_iter().collect::<Result<Vec<_>, _>>()
    })?;

    let mut all = SharedVec::<f64>::zeroed(files * len);
    let loaded = table.row("processes, all values into a SharedVec", || {
        load::map(paths.iter().copied().zip(all.chunks_mut(len))).into_iter().collect::<Result<Vec<_>, _>>()
    })?;

    // The copies are what the files hold, and so must be what the workers have read into the shared memory.
    let mut equal = threaded == serial && processed == serial && loaded == serial && copies.concat() == all[..];
    if let Some(summaries) = python(&paths, rounds, &mut table)? {
        equal &= summaries == serial;
    }
    println!("\nresults equal: {}", if equal { "yes" } else { "NO" });
    if equal { Ok(()) } else { Err("the results differ".into()) }
}

/// The same by `h5py` and `multiprocessing`. `None` if there is no Python, or no `h5py`.
fn python(paths: &[&Path], rounds: usize, table: &mut Table) -> Result<Option<Vec<Summary>>, Box<dyn Error>> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/summary.py");
    let output = match Command::new(&python).arg(script).arg(rounds.to_string()).args(paths).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("Python is not run: there is no {}", python.display());
            return Ok(None);
        }
        output => output?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim() == "no h5py" {
        println!("Python is not run: {} has no h5py", python.display());
        return Ok(None);
    }
    if !output.status.success() {
        return Err(format!("summary.py failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [serial, processes, ref summaries @ ..] = numbers[..] else {
        return Err(format!("summary.py printed: {text}").into());
    };
    table.print("Python, serial", Duration::from_secs_f64(serial));
    table.print("Python, processes", Duration::from_secs_f64(processes));
    Ok(Some(summaries.chunks_exact(3).map(|found| Summary { min: found[0], max: found[1], sum: found[2] }).collect()))
}
