//! The environment variables `PARALLEL_MODE` and `PARALLEL_WORKERS`, read once, and those of a cluster's address.

use std::sync::OnceLock;

use crate::options::Mode;
use crate::sys::cpu::cpu_count;
use crate::sys::privilege::variable;

/// The mode that `PARALLEL_MODE` forces on functions without a pool of their own.
///
/// # Panics
///
/// If the variable is set to something else than `serial`, `thread`, `process` or `dask`.
pub(crate) fn mode() -> Option<Mode> {
    static MODE: OnceLock<Option<Mode>> = OnceLock::new();
    *MODE.get_or_init(|| {
        let text = variable("PARALLEL_MODE")?;
        match text.to_str() {
            Some("") => None,
            Some("serial") => Some(Mode::Serial),
            Some("thread") => Some(Mode::Thread),
            Some("process") => Some(Mode::Process),
            Some("dask") => Some(Mode::Dask),
            _ => panic!("PARALLEL_MODE={text:?}: it must be `serial`, `thread`, `process` or `dask`"),
        }
    })
}

/// The size that `PARALLEL_WORKERS` gives to pools that leave theirs open.
///
/// # Panics
///
/// If the variable is set to something else than a whole number from 1.
pub(crate) fn workers() -> Option<usize> {
    static WORKERS: OnceLock<Option<usize>> = OnceLock::new();
    *WORKERS.get_or_init(|| {
        let text = variable("PARALLEL_WORKERS")?;
        if text.is_empty() {
            return None;
        }
        match text.to_str().and_then(|text| text.parse().ok()) {
            Some(workers) if workers > 0 => Some(workers),
            _ => panic!("PARALLEL_WORKERS={text:?}: it must be a whole number from 1"),
        }
    })
}

/// The address of a cluster's scheduler: `PARALLEL_DASK`, or else `DASK_SCHEDULER_ADDRESS`.
#[cfg(feature = "dask")]
pub(crate) fn dask() -> Option<String> {
    ["PARALLEL_DASK", "DASK_SCHEDULER_ADDRESS"]
        .into_iter()
        .find_map(|name| variable(name)?.into_string().ok().filter(|text| !text.is_empty()))
}

/// The number of workers that `asked` stands for: 0 means `PARALLEL_WORKERS`, or else one per CPU.
pub(crate) fn resolve_workers(asked: usize) -> usize {
    if asked > 0 { asked } else { workers().unwrap_or_else(cpu_count) }
}
