//! Functions on a Dask cluster. All of these tests need one, or Python with `distributed`: `tests/dask/with-cluster cargo test --test dask -- --ignored`.

#[macro_use]
#[path = "../support/conformance.rs"]
mod conformance;

#[macro_use]
#[path = "../support/streams.rs"]
mod streams;

mod cluster;
mod data;
mod faults;
mod hosts;
mod tls;

mod everything {
    use super::conformance::{Kind, Record, record};

    conformance!(dask, "dask", #[ignore = "needs a Dask cluster: tests/dask/with-cluster cargo test --test dask -- --ignored"]);
}

mod as_they_come {
    use super::streams as table;

    streams!(dask, "dask", #[ignore = "needs a Dask cluster: tests/dask/with-cluster cargo test --test dask -- --ignored"]);
}
