//! The automation of the project as one command.
fn main() {}
