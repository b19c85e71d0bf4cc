//! The same sections in Python, for `--compare`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What Python needed for a row.
#[derive(Default)]
pub struct Theirs {
    serial: Option<f64>,
    parallel: Option<f64>,
    /// Most memory of all processes together, in bytes.
    pub peak: Option<u64>,
    /// What happened, if it cannot be told in times.
    pub note: Option<String>,
}

impl Theirs {
    pub fn serial(&self) -> Option<Duration> {
        self.serial.map(Duration::from_secs_f64)
    }

    pub fn parallel(&self) -> Option<Duration> {
        self.parallel.map(Duration::from_secs_f64)
    }
}

/// Runs a section of `examples/python/article.py` with the interpreter that `PARALLEL_PYTHON` names, or `python3`.
pub fn run(section: &str, quick: bool) -> Result<Vec<Theirs>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/article.py");
    let interpreter = std::env::var_os("PARALLEL_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&interpreter);
    command.arg(&script).arg("--json").args(quick.then_some("--quick")).arg(section);
    let output = command.output().map_err(|error| {
        format!("{} does not run: {error}; --compare needs Python 3", interpreter.to_string_lossy())
    })?;
    if !output.status.success() {
        return Err(format!("{}: {}", script.display(), String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8_lossy(&output.stdout).lines().map(read).collect()
}

fn read(line: &str) -> Result<Theirs, String> {
    let row: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("Python said {line:?}: {error}"))?;
    Ok(Theirs {
        serial: row["serial"].as_f64(),
        parallel: row["parallel"].as_f64(),
        peak: row["peak"].as_u64(),
        note: row["note"].as_str().map(String::from),
    })
}
