//! Runs programs: echoed, with a verdict from their exit status.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::StepError;

/// A `cargo` of the same toolchain as the one that runs this.
pub(crate) fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

/// Any other program, started in `folder`.
pub(crate) fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    command
}

/// Runs a command with its output passed through.
pub(crate) fn run(command: &mut Command) -> Result<(), StepError> {
    let line = describe(command);
    println!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| StepError::Io {
            what: format!("cannot start `{line}`"),
            source,
        })?;
    if status.success() {
        return Ok(());
    }
    Err(StepError::Failed {
        command: line,
        status: status.to_string(),
    })
}

/// Runs a command and returns what it printed on its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String, StepError> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| StepError::Io {
            what: format!("cannot start `{line}`"),
            source,
        })?;
    if !output.status.success() {
        return Err(StepError::Failed {
            command: line,
            status: output.status.to_string(),
        });
    }
    String::from_utf8(output.stdout).map_err(|_| StepError::Unreadable(line))
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program
        .file_name()
        .unwrap_or(command.get_program())
        .display()
        .to_string();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.display());
    }
    line
}
