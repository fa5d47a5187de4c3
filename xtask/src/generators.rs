//! `cargo xtask fuzz` and `cargo xtask simulate`: generated input, replayable from its seed.

use std::path::Path;
use std::process::Command;

use crate::arguments::Arguments;
use crate::command::{cargo, run};
use crate::error::StepError;

/// Enough for every branch of a mutator to be taken, few enough to wait for.
const FUZZ_INPUTS_DEFAULT: u64 = 1_000_000;

/// The targets of `driftless-fuzz`; it refuses a name that it does not know.
pub(crate) const FUZZ_TARGETS: [&str; 6] = [
    "admission",
    "ywebsocket",
    "hocuspocus",
    "state_vector",
    "presence",
    "name",
];

/// Feeds mutated input to one fuzz target, or to each in turn.
pub(crate) fn fuzz(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let target = arguments.positional();
    let inputs = arguments.number("--inputs", FUZZ_INPUTS_DEFAULT)?;
    let seed = arguments.number("--seed", 1)?;
    let is_release = arguments.flag("--release");
    arguments.finish()?;
    let targets = match &target {
        Some(target) => vec![target.as_str()],
        None => FUZZ_TARGETS.to_vec(),
    };
    targets.into_iter().try_for_each(|target| {
        let mut command = fuzzer(root, is_release);
        command.args([
            target,
            "--inputs",
            &inputs.to_string(),
            "--seed",
            &seed.to_string(),
        ]);
        run(&mut command)
    })
}

fn fuzzer(root: &Path, is_release: bool) -> Command {
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--locked", "--package", "driftless-fuzz"]);
    profile(&mut command, is_release);
    command
}

/// Runs whole networks of replicas, one per seed; `--seed X --trace` shows one of them.
pub(crate) fn simulate(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let is_release = arguments.flag("--release");
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--locked", "--package", "driftless-proto"]);
    command.args(["--features", "testing", "--example", "simulate"]);
    profile(&mut command, is_release);
    run(command.args(arguments.rest()))
}

/// Debug by default, since it checks arithmetic; `--release` for long runs.
fn profile(command: &mut Command, is_release: bool) {
    if is_release {
        command.arg("--release");
    }
    command.arg("--");
}
