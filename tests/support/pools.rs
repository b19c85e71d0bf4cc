//! The pools on which the tables of behaviours run.

use parallel_runtime::{Call, DaskPool, ProcessFn, ProcessPool, ThreadPool};

/// What the functions of the tables are annotated with.
pub(crate) use parallel_runtime::parallel;

/// A pool of one kind or another. A function with `mode = "process"` runs on each.
#[allow(dead_code, reason = "a test binary has some of them")]
pub(crate) enum TestPool {
    Threads(ThreadPool),
    Processes(ProcessPool),
    Cluster(DaskPool),
    /// That of the function's attribute, or where `PARALLEL_MODE` moves it.
    Own,
}

#[allow(dead_code, reason = "a test binary uses some of it")]
impl TestPool {
    pub(crate) const fn threads(workers: usize) -> Self {
        Self::Threads(ThreadPool::new(workers))
    }

    pub(crate) const fn processes(workers: usize) -> Self {
        Self::Processes(ProcessPool::new(workers))
    }

    /// As `f::on(&pool)`.
    pub(crate) fn on<F: ProcessFn>(&self) -> Call<'_, F> {
        match self {
            Self::Threads(pool) => Call::on(pool),
            Self::Processes(pool) => Call::on(pool),
            Self::Cluster(pool) => Call::on(pool),
            Self::Own => Call::new(),
        }
    }

    fn moved_to(&self) -> Option<String> {
        if matches!(self, Self::Own) { std::env::var("PARALLEL_MODE").ok() } else { None }
    }

    /// Whether calls run on the caller's thread.
    pub(crate) fn runs_in_place(&self) -> bool {
        self.moved_to().is_some_and(|mode| mode == "serial")
    }

    /// Whether arguments and results are encoded.
    pub(crate) fn crosses(&self) -> bool {
        match self {
            Self::Threads(_) => false,
            Self::Processes(_) | Self::Cluster(_) => true,
            Self::Own => self.moved_to().is_none_or(|mode| mode == "process"),
        }
    }

    /// Whether a round trip takes its time.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}
