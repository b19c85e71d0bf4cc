//! Compiles the C code of the example `crashy_parser`.

fn main() {
    let source = "crashy_parser/parser.c";
    println!("cargo::rerun-if-changed={source}");
    // For the examples alone: nothing else is linked with it.
    cc::Build::new().file(source).cargo_metadata(false).warnings(true).compile("crashy");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    println!("cargo::rustc-link-arg-examples={out}/libcrashy.a");
}
