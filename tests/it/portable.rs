//! What systems other than Linux lack is an error that says so, where the pool is started.

use parallel_runtime::{PoolError, ProcessPool, Sandbox, SharedVec, TaskError, parallel};

#[parallel(mode = "process")]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[test]
fn pools_that_ask_for_what_only_linux_has_say_so() {
    let limited = ProcessPool::new(1).memory_limit(1 << 30);
    let confined = ProcessPool::new(1).sandbox(Sandbox::strict());
    for (pool, word) in [(limited, "`memory_limit` needs Linux"), (confined, "`sandbox` needs Linux")] {
        let Err(PoolError::Spawn(error)) = pool.start() else { panic!("it has started") };
        assert!(error.to_string().contains(word), "{error}");
        let Err(TaskError::Spawn(error)) = add::on(&pool).submit((1, 2)).join() else { panic!("it has run") };
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn segments_with_a_name_say_what_to_do_instead() {
    let error = // SAFETY: no other process has it.
        unsafe { SharedVec::<u64>::create_named("parallel_test_portable", 8) };
    let error = error.unwrap_err().to_string();
    assert!(error.contains("parallel_test_portable") && error.contains("pass the `SharedVec`"), "{error}");
}
