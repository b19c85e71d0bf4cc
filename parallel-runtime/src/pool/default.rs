//! The pools of functions that name none: one for each mode, size and set of worker options.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::backend::Target;
use crate::backend::serial::Serial;
#[cfg(feature = "dask")]
use crate::dask;
use crate::environment::resolve_workers;
use crate::options::{CallOptions, Mode, WorkerKey, WorkerOptions};
use crate::remote::backend::RemoteBackend;
use crate::sys::role;
use crate::{process, thread};

/// Mode, size, and the key of the worker options.
type Key = (Mode, usize, WorkerKey);

static POOLS: LazyLock<Mutex<HashMap<Key, Target>>> = LazyLock::new(Mutex::default);

/// The default pool of these properties. It lives as long as the program.
pub(crate) fn pool(mode: Mode, workers: usize, options: WorkerOptions) -> Target {
    if mode == Mode::Serial {
        return Arc::new(Serial::default());
    }
    if matches!(mode, Mode::Process | Mode::Dask) && role::in_worker() {
        return super::process::in_worker(options, None, CallOptions::NONE);
    }
    // A cluster has as many as it has.
    let workers = if mode == Mode::Dask { 0 } else { resolve_workers(workers) };
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || -> Target {
        match mode {
            Mode::Process => {
                Arc::new(RemoteBackend::new(process::Engine::new(workers, options, None, CallOptions::NONE)))
            }
            #[cfg(feature = "dask")]
            Mode::Dask => {
                let limit = super::dask::CONNECT_TIMEOUT;
                Arc::new(RemoteBackend::new(dask::Engine::new(
                    dask::Address::Environment,
                    limit,
                    options,
                    None,
                    CallOptions::NONE,
                )))
            }
            #[cfg(not(feature = "dask"))]
            Mode::Dask => unreachable!("without the feature `Spec::new` refuses it"),
            Mode::Serial => Arc::new(Serial::default()),
            Mode::Thread => Arc::new(thread::Engine::new(workers, options, None, CallOptions::NONE)),
        }
    };
    pools.entry((mode, workers, options.key())).or_insert_with(make).clone()
}
