//! `cargo xtask cluster` and `cargo xtask cluster-faults`: whole clusters, to look at and to hurt.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::arguments::Arguments;
use crate::command::{cargo, program, run};
use crate::error::StepError;
use crate::metadata::Metadata;
use crate::setup;

/// What `cargo xtask cluster` starts unless told otherwise.
const NODES_DEFAULT: u64 = 3;

/// Builds the server and starts a cluster of it until Ctrl-C.
pub(crate) fn cluster(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let nodes = arguments.number("--nodes", NODES_DEFAULT)?;
    let postgres_port = arguments.number("--postgres-port", 0)?;
    let has_proxy_protocol = arguments.flag("--proxy-protocol");
    let binaries = build(root, arguments.flag("--release"))?;
    let mut command = program(&path(&binaries, "driftless-cluster"), root);
    command
        .arg("--binary")
        .arg(binaries.join("driftless"))
        .args(["--nodes", &nodes.to_string()])
        .args(["--postgres-port", &postgres_port.to_string()]);
    if has_proxy_protocol {
        command.arg("--proxy-protocol");
    }
    become_program(command.args(arguments.rest()))
}

/// Builds the server and lets faults rain on a cluster of it; other options are the scenario's own.
pub(crate) fn faults(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let binaries = build(root, arguments.flag("--release"))?;
    become_program(&mut faults_command(root, &binaries, &arguments.rest()))
}

/// The scenario with faults, of binaries that are built.
pub(crate) fn faults_command(
    root: &Path,
    binaries: &Path,
    options: &[String],
) -> std::process::Command {
    let mut command = program(&path(binaries, "loadtest"), root);
    command
        .arg("faults")
        .arg("--binary")
        .arg(binaries.join("driftless"))
        .args(options);
    command
}

/// Installs what clusters need, builds everything, and returns where the binaries are.
fn build(root: &Path, is_release: bool) -> Result<PathBuf, StepError> {
    setup::make(root)?;
    setup::cluster_programs(root)?;
    let target = Metadata::read(root)?.target_directory;
    let mut command = cargo(root);
    command.args(["build", "--locked", "--workspace", "--bins"]);
    // As the suites build, so that nothing is compiled twice; a release has no faults on demand.
    command.arg(if is_release {
        "--release"
    } else {
        "--all-features"
    });
    run(&mut command)?;
    Ok(target.join(if is_release { "release" } else { "debug" }))
}

fn path(binaries: &Path, name: &str) -> String {
    binaries.join(name).display().to_string()
}

/// Puts the program in the place of this one, so that Ctrl-C reaches it alone and is waited for.
fn become_program(command: &mut std::process::Command) -> Result<(), StepError> {
    let what = format!("cannot start {}", command.get_program().display());
    let source = command.exec();
    Err(StepError::Io { what, source })
}
