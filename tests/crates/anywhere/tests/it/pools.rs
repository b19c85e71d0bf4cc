//! The pools on which the tables of behaviours run here.

use parallel_runtime::{Call, ParallelFn, ThreadPool};

/// What the functions of the tables are annotated with.
pub(crate) use parallel_test_on_threads::parallel;

/// A pool of one kind or another.
#[expect(clippy::large_enum_variant, reason = "there are a few statics of it")]
pub(crate) enum TestPool {
    Threads(ThreadPool),
    /// That of the function's attribute, or where `PARALLEL_MODE` moves it.
    Own,
}

impl TestPool {
    pub(crate) const fn threads(workers: usize) -> Self {
        Self::Threads(ThreadPool::new(workers))
    }

    /// As `f::on(&pool)`.
    pub(crate) fn on<F: ParallelFn>(&self) -> Call<'_, F> {
        match self {
            Self::Threads(pool) => Call::on(pool),
            Self::Own => Call::new(),
        }
    }

    /// Whether calls run on the caller's thread.
    pub(crate) fn runs_in_place(&self) -> bool {
        matches!(self, Self::Own) && std::env::var("PARALLEL_MODE").is_ok_and(|mode| mode == "serial")
    }

    /// Whether arguments and results are encoded.
    pub(crate) fn crosses(&self) -> bool {
        false
    }

    /// Whether a round trip takes its time.
    pub(crate) fn is_far(&self) -> bool {
        false
    }
}
