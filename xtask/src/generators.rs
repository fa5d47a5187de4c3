//! `cargo xtask fuzz` and `cargo xtask simulate`: generated input, replayable from its seed.

use std::path::Path;
use std::process::Command;

use crate::arguments::Arguments;
use crate::command::{cargo, run};
use crate::error::StepError;

/// Enough for every branch of a mutator to be taken, few enough to wait for.
const FUZZ_INPUTS_DEFAULT: u64 = 1_000_000;

/// What a developer waits for; ten times what `cargo xtask test` runs.
const SIMULATE_SEEDS_DEFAULT: u64 = 1_000;

/// Feeds mutated input to one fuzz target, or to each in turn.
pub(crate) fn fuzz(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let target = arguments.positional().unwrap_or_else(|| "all".to_owned());
    let inputs = arguments.number("--inputs", FUZZ_INPUTS_DEFAULT)?;
    let seed = arguments.number("--seed", 1)?;
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--package", "driftless-fuzz"]);
    profile(&mut command, &mut arguments);
    arguments.finish()?;
    command.args(["--", &target]);
    command.args(["--inputs", &inputs.to_string(), "--seed", &seed.to_string()]);
    run(&mut command)
}

/// Runs whole networks of replicas, one per seed.
pub(crate) fn simulate(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let seeds = arguments.number("--seeds", SIMULATE_SEEDS_DEFAULT)?;
    let first = arguments.number("--first", 1)?;
    let mut command = cargo(root);
    command.args([
        "run",
        "--quiet",
        "--package",
        "driftless-proto",
        "--features",
        "testing",
    ]);
    command.args(["--example", "simulate"]);
    profile(&mut command, &mut arguments);
    arguments.finish()?;
    command.args([
        "--",
        "--seeds",
        &seeds.to_string(),
        "--first",
        &first.to_string(),
    ]);
    run(&mut command)
}

/// Debug by default, since it is built already and checks arithmetic; `--release` for long runs.
fn profile(command: &mut Command, arguments: &mut Arguments) {
    if arguments.flag("--release") {
        command.arg("--release");
    }
}
