//! The types of crates that many programs use, on their way to a worker process and back.
