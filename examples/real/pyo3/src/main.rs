//! Calls a function in plain Python serially, on threads, and in worker processes with an interpreter each.
//!
//! `cargo run --release [-- --quick]`
//!
//! The interpreter has a lock (the GIL) that a thread holds while it runs Python code, so threads wait for each other. Each process
//! has an interpreter, and a lock, of its own.

use std::error::Error;
use std::ffi::CString;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use parallel_runtime::{ProcessPool, RemoteError, ThreadPool, parallel};
use pyo3::prelude::*;

#[path = "../../table.rs"]
mod table;

use table::Table;

/// What Python code prints comes out at once; else it stays in a buffer of the interpreter, which is lost when the worker ends.
static INTERPRETERS: ProcessPool = ProcessPool::new(2).env(&[("PYTHONUNBUFFERED", "1")]);

/// A number, and the length of its Collatz sequence.
type Longest = (u64, u64);

/// Calls the Python function that the worker keeps. Callers pass the bounds alone.
#[parallel(pool = INTERPRETERS, mode = "process", state = compile)]
fn longest(#[worker] function: &Py<PyAny>, start: u64, stop: u64) -> Result<Longest, RemoteError> {
    Python::attach(|python| function.bind(python).call1((start, stop))?.extract()).map_err(RemoteError::from_error)
}

/// Starts the interpreter, if this process has none yet, and compiles the module: once for each worker.
fn compile() -> Py<PyAny> {
    let compile = |python: Python<'_>| {
        let source = CString::new(include_str!("../collatz.py"))?;
        Ok(PyModule::from_code(python, &source, c"collatz.py", c"collatz")?.getattr("longest")?.unbind())
    };
    Python::attach(compile).unwrap_or_else(|error: PyErr| panic!("collatz.py cannot be compiled: {error}"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (tasks, size, rounds) = if quick { (16, 4_000, 2) } else { (24, 10_000, 3) };
    let ranges: Vec<(u64, u64)> = (0..tasks).map(|task| (1 + task * size, 1 + (task + 1) * size)).collect();
    println!("Python {}, {tasks} calls\n", Python::version_str());

    let mut table = Table::new(rounds);
    let serial = table.row("serial", || {
        ranges.iter().map(|(start, stop)| longest::inline(*start, *stop)).collect::<Result<Vec<_>, _>>()
    })?;

    let threads = ThreadPool::new(2);
    let threaded = table
        .row("threads", || longest::on(&threads).map(ranges.clone()).into_iter().collect::<Result<Vec<_>, _>>())?;

    let processed =
        table.row("processes", || longest::map(ranges.clone()).into_iter().collect::<Result<Vec<_>, _>>())?;

    let mut equal = threaded == serial && processed == serial;
    if let Some(found) = multiprocessing(&ranges, &mut table)? {
        equal &= found == serial;
    }
    println!("\nresults equal: {}", if equal { "yes" } else { "NO" });

    if equal { Ok(()) } else { Err("the results differ".into()) }
}

/// The same by Python's `multiprocessing`. `None` if there is no `python3` beside the library.
fn multiprocessing(ranges: &[(u64, u64)], table: &mut Table) -> Result<Option<Vec<Longest>>, Box<dyn Error>> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/collatz.py");
    let ranges = ranges.iter().map(|(start, stop)| format!("{start}:{stop}"));
    let output = match Command::new(&python).arg(script).arg(table.rounds.to_string()).args(ranges).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("Python's multiprocessing is not run: there is no {}", python.display());
            return Ok(None);
        }
        output => output?,
    };
    if !output.status.success() {
        return Err(format!("collatz.py failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (times, found) = text.split_once('\n').ok_or("collatz.py has printed nothing")?;
    for (name, time) in ["Python, serial", "Python, multiprocessing.Pool"].iter().zip(times.split_whitespace()) {
        table.print(name, Duration::from_secs_f64(time.parse()?));
    }
    let numbers: Vec<u64> = found.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    Ok(Some(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
}
