//! The automation of the project as one command: `cargo xtask test | tidy | fuzz | simulate | cluster`.
//!
//! What CI runs is what a developer runs; `.ci/run` calls `cargo xtask test` and nothing else.
// A command-line tool speaks on its standard output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod arguments;
mod clusters;
mod command;
mod error;
mod generators;
mod metadata;
mod packages;
mod setup;
mod suites;
mod tidy;

use arguments::Arguments;
use error::StepError;

const HELP: &str = "\
The automation of Driftless.

cargo xtask test [--suite NAME]...   Set up what is missing and run all suites, or the named ones.
cargo xtask test --list              Name the suites and what each one proves.
cargo xtask tidy                     Check layout, dependencies, headers and file sizes.
cargo xtask fuzz [TARGET] [--inputs N] [--seed S] [--release]
                                     Feed mutated input to one decoder, or to each in turn.
cargo xtask simulate [--seeds N] [--first S] [--release]
                                     Run whole networks of replicas, one per seed.
cargo xtask simulate --seed X --trace
                                     Replay one of them, line by line.
cargo xtask cluster [--nodes N] [--release] [--postgres-port PORT] [--proxy-protocol]
                    [-- SETTINGS]    Start PostgreSQL, Redis, HAProxy and nodes, until Ctrl-C.
cargo xtask cluster-faults [--rounds N] [--seed S] [--without restore] [--release]
                                     Kill, pause and cut off parts of a cluster that is written to.
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<(), StepError> {
    let mut arguments = Arguments::new(words);
    let root = workspace_root();
    match arguments.positional().as_deref() {
        Some("test") => suites::run(&root, arguments),
        Some("tidy") => {
            arguments.finish()?;
            tidy::run(&root)
        }
        Some("fuzz") => generators::fuzz(&root, arguments),
        Some("simulate") => generators::simulate(&root, arguments),
        Some("cluster") => clusters::cluster(&root, arguments),
        Some("cluster-faults") => clusters::faults(&root, arguments),
        None | Some("help") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(StepError::Usage(format!(
            "there is no command {other:?}\n\n{HELP}"
        ))),
    }
}

/// The folder of the workspace's `Cargo.toml`, wherever the command was started.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}
