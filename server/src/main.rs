//! The `driftless` binary: hands over to the library.
fn main() {}
