//! Annotated functions of another crate.

use parallel_test_library::{add, largest, pid};

#[test]
fn functions_of_a_library_run_in_workers() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(add::map([(1, 2), (3, 4)]), [3, 7]);
    assert_ne!(pid(), std::process::id());
}

#[test]
fn generic_functions_of_a_library_are_found_in_the_executable() {
    assert_eq!(largest(vec![1, 3, 2]), Some(3));
    assert_eq!(largest(vec!["a".to_owned()]), Some("a".to_owned()));
}

#[test]
fn a_renamed_runtime_works_from_outside() {
    assert_eq!(parallel_test_renamed::double(4), 8);
}
