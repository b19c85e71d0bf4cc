//! Finds identical files below a directory, then does the same job in each mode and compares.
//!
//! `cargo run --release --example find_duplicates -- DIR`
//!
//! With `PARALLEL_DASK=tcp://scheduler:8786` on that cluster, too, whose machines must have the directory: a cluster on this machine, or a
//! common file system.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use parallel_runtime::{DaskPool, TaskError, ThreadPool, parallel};
use sha2::{Digest, Sha256};

/// The length of a file and the SHA-256 of what is in it.
#[parallel(mode = "process")]
fn fingerprint(path: &Path) -> Result<(u64, [u8; 32]), String> {
    let hash = || -> io::Result<(u64, [u8; 32])> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut length = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok((length, hasher.finalize().into())),
                count => {
                    hasher.update(&buffer[..count]);
                    length += count as u64;
                }
            }
        }
    };
    hash().map_err(|error| error.to_string())
}

type Fingerprint = Result<(u64, [u8; 32]), String>;

fn main() {
    let directory = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    collect(&directory, &mut files, &mut unreadable);
    files.sort();
    println!("{} files below {}", files.len(), directory.display());

    let threads = ThreadPool::new(0);
    let begun = Instant::now();
    let serial: Vec<Fingerprint> = files.iter().map(|path| fingerprint::inline(path)).collect();
    let serial_time = begun.elapsed();

    // The first pass has filled the file system's cache, so that all modes read the same way.
    let begun = Instant::now();
    let again: Vec<Fingerprint> = files.iter().map(|path| fingerprint::inline(path)).collect();
    let serial_time = serial_time.min(begun.elapsed());

    let begun = Instant::now();
    let threaded = fingerprint::on(&threads).map(files.iter().map(PathBuf::as_path));
    let thread_time = begun.elapsed();

    let begun = Instant::now();
    let processed = fingerprint::options().progress("hashing in processes").try_map(files.iter().map(PathBuf::as_path));
    let process_time = begun.elapsed();

    let mut modes = vec![("serial", serial_time), ("thread", thread_time), ("process", process_time)];
    let mut clustered = None;
    if std::env::var_os("PARALLEL_DASK").is_some() {
        let cluster = DaskPool::from_env();
        if let Err(error) = cluster.start() {
            eprintln!("{error}");
            std::process::exit(1);
        }
        let begun = Instant::now();
        clustered = Some(fingerprint::on(&cluster).try_map(files.iter().map(PathBuf::as_path)));
        modes.push(("dask", begun.elapsed()));
    }

    let mut groups: BTreeMap<(u64, [u8; 32]), Vec<&Path>> = BTreeMap::new();
    for (path, result) in files.iter().zip(&processed) {
        match result {
            Ok(Ok(fingerprint)) => groups.entry(*fingerprint).or_default().push(path),
            Ok(Err(error)) => unreadable.push(format!("{}: {error}", path.display())),
            // A file that brought its worker down would cost this one result.
            Err(error) => unreadable.push(format!("{}: {error}", path.display())),
        }
    }
    for ((length, _), paths) in groups.iter().rev().filter(|(_, paths)| paths.len() > 1) {
        println!("\n{} identical files of {length} bytes:", paths.len());
        for path in paths {
            println!("  {}", path.display());
        }
    }
    if !unreadable.is_empty() {
        println!("\nnot readable:");
        unreadable.iter().for_each(|line| println!("  {line}"));
    }

    println!("\n{:<8} {:>10} {:>9}", "mode", "time", "speed-up");
    for (mode, time) in modes {
        let ratio = serial_time.as_secs_f64() / time.as_secs_f64().max(1e-9);
        println!("{mode:<8} {:>7.1} ms {ratio:>8.2}×", time.as_secs_f64() * 1e3);
    }
    let same = |results: &[Result<Fingerprint, TaskError>]| {
        results.iter().zip(&serial).all(|(result, expected)| result.as_ref().is_ok_and(|result| result == expected))
    };
    let agree = again == serial && threaded == serial && same(&processed) && clustered.as_deref().is_none_or(same);
    println!("all modes agree: {}", if agree { "yes" } else { "NO (did a file change meanwhile?)" });
}

/// All regular files below a directory; links are not followed.
fn collect(directory: &Path, files: &mut Vec<PathBuf>, unreadable: &mut Vec<String>) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return unreadable.push(format!("{}: {error}", directory.display())),
    };
    for entry in entries {
        let kind = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
        match kind {
            Ok((path, kind)) if kind.is_dir() => collect(&path, files, unreadable),
            Ok((path, kind)) if kind.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) => unreadable.push(format!("{}: {error}", directory.display())),
        }
    }
}
