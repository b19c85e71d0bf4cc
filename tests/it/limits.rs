//! Large, many, and not enough.

use parallel_runtime::{PoolError, ProcessPool, TaskError, parallel};

#[parallel(mode = "process", pool = 2)]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

#[parallel(mode = "process", pool = 2)]
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[test]
fn a_result_of_a_gibibyte_comes_back() {
    let result = zeros(1 << 30);
    assert_eq!(result.len(), 1 << 30);
}

#[test]
fn an_argument_of_256_mebibytes_arrives() {
    let bytes = vec![1; 256 << 20];
    assert_eq!(sum(&bytes), 256 << 20);
}

#[test]
fn a_result_that_does_not_fit_into_shared_memory_is_told() {
    // More than the arena can be, whatever the limits: two results that count, but need no memory in the worker.
    match Endless::make::submit().join() {
        Err(error @ TaskError::OutOfSharedMemory { requested, available }) => {
            assert!(requested > available, "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[expect(non_snake_case, reason = "it stands for a type")]
mod Endless {
    use parallel_runtime::parallel;
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Serialize};

    #[parallel(mode = "process", pool = 2)]
    pub(super) fn make() -> Lie {
        Lie
    }

    /// Says that it is four tebibytes long, in pieces of four mebibytes.
    #[derive(Debug, Deserialize)]
    pub(super) struct Lie;

    impl Serialize for Lie {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let piece = "x".repeat(4 << 20);
            let mut sequence = serializer.serialize_seq(Some(1 << 20))?;
            for _ in 0..1 << 20 {
                sequence.serialize_element(&piece)?;
            }
            sequence.end()
        }
    }
}

#[test]
fn too_many_workers_are_refused() {
    let pool = ProcessPool::new(5000);
    assert!(matches!(pool.start(), Err(PoolError::TooManyWorkers { asked: 5000, most: 1024 })));
    let error = sum::on(&pool).submit(vec![1]).join().unwrap_err();
    assert!(error.to_string().contains("5000"), "{error}");
}
