//! Packages of Debian, installed when they are missing.

use std::path::Path;
use std::process::Command;

use crate::command::{capture, program, run};
use crate::error::StepError;

/// Asked by Debian's packages whether a service may start; 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Read when PostgreSQL's server is installed.
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs a package.
pub(crate) fn install(root: &Path, package: &str) -> Result<(), StepError> {
    run(&mut apt_get(root, &["update"]))?;
    run(&mut apt_get(
        root,
        &["install", "--yes", "--no-install-recommends", package],
    ))
}

/// Installs servers as programs only: none of them starts, now or with the machine.
pub(crate) fn install_servers(root: &Path, packages: &[&str]) -> Result<(), StepError> {
    // A file that is there is the machine's own answer; it is left alone.
    let has_policy = Path::new(POLICY).exists();
    if !has_policy {
        run(as_root(root, "sh").args([
            "-c",
            &format!("printf '#!/bin/sh\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"),
        ]))?;
    }
    if !Path::new(CREATE_CLUSTER).exists() {
        let write = format!(
            "mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > {CREATE_CLUSTER}"
        );
        run(as_root(root, "sh").args(["-c", &write]))?;
    }
    let installed = packages
        .iter()
        .try_for_each(|package| install(root, package));
    if !has_policy {
        run(as_root(root, "rm").arg(POLICY))?;
        // Where there is no systemd nothing starts with the machine anyway.
        for package in packages {
            let _ = capture(as_root(root, "systemctl").args(["disable", "--now", package]));
        }
    }
    installed
}

fn apt_get(root: &Path, arguments: &[&str]) -> Command {
    let mut command = as_root(root, "env");
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(arguments);
    command
}

/// A program with the rights to change the machine.
fn as_root(root: &Path, name: &str) -> Command {
    let is_root = capture(program("id", root).arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return program(name, root);
    }
    let mut sudo = program("sudo", root);
    sudo.args(["--non-interactive", name]);
    sudo
}
