//! Mistakes, and what the compiler says about them. Run with `TRYBUILD=overwrite` after a change of the messages.

#[test]
fn mistakes_are_told_where_they_are() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
