//! A C parser full of bugs, over a folder of files of which some make it crash, hang or eat memory. Each file is parsed in a
//! worker process that may do nothing but compute; at the end there is a report with the outcome of every file.
//!
//! `cargo run --release --example crashy_parser -- [DIR]`
//!
//! DIR is a folder of any files. Without it the example makes one, with sound WAVE files and with broken ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parallel_runtime::{TaskError, parallel};
use serde::{Deserialize, Serialize};

mod files;

/// What the parser finds.
#[repr(C)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Wave {
    channels: u32,
    rate: u32,
    bits: u32,
    frames: u64,
    loudest: u64,
}

unsafe extern "C" {
    fn crashy_parse(data: *const u8, len: usize, wave: *mut Wave) -> i32;
}

/// Parses one file. A crash, an endless loop or an allocation without end costs this file; and whatever the file makes the
/// parser do, it can neither reach other files nor the network.
///
/// Only Linux has the limit and the sandbox.
#[cfg_attr(
    target_os = "linux",
    parallel(
        mode = "process",
        timeout = "500ms",
        memory_limit = "256MiB",
        max_tasks_per_worker = 500,
        sandbox = "strict"
    )
)]
#[cfg_attr(not(target_os = "linux"), parallel(mode = "process", timeout = "500ms", max_tasks_per_worker = 500))]
fn parse(data: &[u8]) -> Option<Wave> {
    // A copy of its own: arguments lie in shared memory beside those of other tasks, and this parser reads past the end of things.
    let data = data.to_vec();
    let mut wave = Wave::default();
    // SAFETY: the parser is given a buffer and its length. That it does not keep to it is why it runs in a process of its own.
    let found = unsafe { crashy_parse(data.as_ptr(), data.len(), &raw mut wave) };
    (found != 0).then_some(wave)
}

fn main() -> std::io::Result<()> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = match &given {
        Some(directory) => directory.clone(),
        None => files::make()?,
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)?.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();

    let begun = Instant::now();
    let contents: Vec<std::io::Result<Vec<u8>>> = paths.iter().map(std::fs::read).collect();
    let readable: Vec<&[u8]> = contents.iter().flatten().map(Vec::as_slice).collect();
    let mut results = parse::options().progress("parsing").try_map(readable).into_iter();
    let took = begun.elapsed();

    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut failures, mut others) = (Vec::new(), Vec::new());
    for (path, content) in paths.iter().zip(&contents) {
        let (kind, text) = match content {
            Err(error) => ("unreadable", error.to_string()),
            Ok(_) => outcome(results.next().expect("there is one result for each file")),
        };
        *kinds.entry(kind).or_default() += 1;
        let line = format!("{kind:>11}  {}  {}", name(path), text.lines().next().unwrap_or_default());
        if matches!(kind, "sound" | "other") { others.push(line) } else { failures.push(line) }
    }
    failures.iter().chain(&others).for_each(|line| println!("{line}"));
    let summary: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("\n{} files in {took:.1?}: {}", paths.len(), summary.join(", "));
    assert_eq!(kinds.values().sum::<usize>(), paths.len(), "no file is lost");
    if given.is_none() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

/// What became of a file, in a word and in a sentence.
fn outcome(result: Result<Option<Wave>, TaskError>) -> (&'static str, String) {
    match result {
        Ok(Some(Wave { channels, rate, bits, frames, loudest })) => {
            ("sound", format!("{channels} channels, {rate} Hz, {bits} bits, {frames} frames, loudest {loudest}"))
        }
        Ok(None) => ("other", "not a WAVE file".to_owned()),
        Err(TaskError::WorkerDied { reason, stderr, saved, .. }) => {
            // What it has said itself, an assertion for example, says more.
            let last = stderr.as_deref().and_then(|lines| lines.lines().last()).map(|line| format!("; {line}"));
            // With PARALLEL_FAILURES=directory: how to run it again under a debugger.
            let again = saved.map(|path| format!("; PARALLEL_REPLAY={} runs it again", path.display()));
            ("crashed", reason + &last.unwrap_or_default() + &again.unwrap_or_default())
        }
        Err(error @ TaskError::TimedOut { .. }) => ("hung", error.to_string()),
        Err(error) => ("failed", error.to_string()),
    }
}

fn name(path: &Path) -> String {
    format!("{:<28}", path.file_name().unwrap_or_default().to_string_lossy())
}
