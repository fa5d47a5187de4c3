//! Where the programs of the machine are, and how they are told to end with us.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ClusterError;

/// Debian keeps each version of PostgreSQL in a folder of its own.
const POSTGRES_FOLDERS: &str = "/usr/lib/postgresql";

/// Overrides where PostgreSQL's server programs are.
const POSTGRES_OVERRIDE: &str = "POSTGRES_PROGRAMS";

/// Where programs for administrators are, which are not on everybody's path.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// The folder of PostgreSQL's server programs, of the newest version there is.
pub(crate) fn postgres() -> Result<PathBuf, ClusterError> {
    if let Some(given) = std::env::var_os(POSTGRES_OVERRIDE) {
        return Ok(PathBuf::from(given));
    }
    let versions = std::fs::read_dir(POSTGRES_FOLDERS)
        .into_iter()
        .flatten()
        .flatten();
    versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .is_file()
                .then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
        .ok_or(ClusterError::Missing("PostgreSQL's server"))
}

/// The path of a program by its name.
pub(crate) fn find(name: &'static str) -> Result<PathBuf, ClusterError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or(ClusterError::Missing(name))
}

/// A command whose process the kernel ends with the thread that starts it. `user` when this process
/// is root and the program refuses to be.
pub(crate) fn bound(program: &Path, user: Option<&str>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(user) = user
        && is_root()
    {
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"))
            .arg("--clear-groups");
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// True when this process may become other users.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a helper to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), ClusterError> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .map_err(ClusterError::io(format!("start {shown}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Helper {
        command: shown,
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
