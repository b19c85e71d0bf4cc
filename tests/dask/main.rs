//! Functions on a Dask cluster. All of these tests need one, or Python with `distributed`: `tests/dask/with-cluster cargo test --test dask -- --ignored`.

#[macro_use]
#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/pools.rs"]
mod pools;

#[macro_use]
#[path = "../support/conformance.rs"]
mod conformance;

#[macro_use]
#[path = "../support/streams.rs"]
mod streams;

#[macro_use]
#[path = "../support/modes.rs"]
mod modes;

mod cluster;
mod data;
mod faults;
mod hosts;
mod state;
mod tls;

mod everything {
    use super::conformance as table;
    use crate::pools::TestPool;
    use parallel_runtime::DaskPool;

    conformance!(dask, TestPool::Cluster(DaskPool::from_env()), #[ignore = "needs a Dask cluster: tests/dask/with-cluster cargo test --test dask -- --ignored"]);
}

mod as_they_come {
    use super::streams as table;
    use crate::pools::TestPool;
    use parallel_runtime::DaskPool;

    streams!(dask, TestPool::Cluster(DaskPool::from_env()), #[ignore = "needs a Dask cluster: tests/dask/with-cluster cargo test --test dask -- --ignored"]);
}

mod attribute {
    use super::conformance::{Kind, Record, record};
    use super::streams::{Runs, block_on};

    modes!(dask, "dask", #[ignore = "needs a Dask cluster: tests/dask/with-cluster cargo test --test dask -- --ignored"]);
}
