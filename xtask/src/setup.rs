//! Brings what the suites need onto a fresh machine, and is quick when it is already there.

use std::path::{Path, PathBuf};

use crate::command::{capture, cargo, program, run};
use crate::error::StepError;

/// Installed from crates.io when no cargo-deny is there; about a minute on two cores.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The path of a cargo-deny: the one on the machine, or one built into `target/tools`.
pub(crate) fn cargo_deny(root: &Path, target: &Path) -> Result<PathBuf, StepError> {
    let tools = target.join("tools");
    let ours = tools.join("bin/cargo-deny");
    if ours.is_file() {
        return Ok(ours);
    }
    if capture(program("cargo-deny", root).arg("--version")).is_ok() {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let package = format!("cargo-deny@{CARGO_DENY_VERSION}");
    run(cargo(root)
        .args(["install", "--locked", "--debug", "--root"])
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        .arg(package))?;
    Ok(ours)
}

/// True when the standard library for wasm32 is installed, or could be.
pub(crate) fn wasm_target(root: &Path, name: &str) -> bool {
    let list = capture(program("rustup", root).args(["target", "list", "--installed"]));
    if list.is_ok_and(|list| list.lines().any(|line| line == name)) {
        return true;
    }
    run(program("rustup", root).args(["target", "add", name])).is_ok()
}
