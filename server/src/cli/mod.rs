//! The command line: `driftless serve | config | doctor | migrate | doc … | backup | restore |
//! store copy | import | token | keys generate`.
//!
//! ```text
//!  arguments ─▶ settings ─▶ serve                     ─▶ the server
//!                        └▶ Command ─▶ target ─▶ Reply ─▶ print
//! ```

mod access;
mod arguments;
mod copy;
mod doctor;
mod document;
mod files;
mod import;
mod keys;
mod migrate;
mod print;
mod progress;
mod target;
mod time;
mod token;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Read, Write};

use clap::Parser;

use crate::admin::OperationError;
use crate::admin::client::CallError;
use crate::config::environment::Environment;
use crate::config::{self, ConfigError, Flags, Loaded, Settings, check, report};
use crate::logging::LoggingError;
use arguments::{Action, Arguments, KeysCommand, StoreCommand};
use progress::Watch;

/// All that was asked for is done.
pub const EXIT_DONE: u8 = 0;
/// The command failed for a reason that has no code of its own.
pub const EXIT_FAILED: u8 = 1;
/// The command line or the settings are wrong; nothing was done.
pub const EXIT_USAGE: u8 = 2;
/// There is no such document or data folder.
pub const EXIT_NOT_FOUND: u8 = 3;
/// The input or the state of the document forbids it; trying again does not help.
pub const EXIT_REFUSED: u8 = 4;
/// Not possible now (disk full, store or server away); trying again may help.
pub const EXIT_UNAVAILABLE: u8 = 5;
/// Stored data is damaged.
pub const EXIT_DAMAGED: u8 = 6;

/// Why a command did not do what was asked.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl Display) -> Self {
        let message = message.to_string();
        Self { code, message }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(EXIT_USAGE, error)
    }
}

impl From<LoggingError> for Failure {
    fn from(error: LoggingError) -> Self {
        Self::new(EXIT_FAILED, error)
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        let code = match error {
            OperationError::NotFound | OperationError::NoRestriction => EXIT_NOT_FOUND,
            OperationError::Refused(_) => EXIT_REFUSED,
            OperationError::Unavailable(_) => EXIT_UNAVAILABLE,
            OperationError::Damaged(_) => EXIT_DAMAGED,
        };
        Self::new(code, error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Operation(error) => error.into(),
            CallError::Unreachable(_) | CallError::Frame(_) | CallError::Timeout => {
                Self::new(EXIT_UNAVAILABLE, error)
            }
        }
    }
}

/// What a command needs of the world around it.
pub struct Context<'a> {
    /// Environment variables.
    pub environment: &'a dyn Environment,
    /// What `-` reads.
    pub input: &'a mut dyn Read,
    /// Where data is printed.
    pub output: &'a mut dyn Write,
    /// True when binary data would garble the output.
    pub output_is_terminal: bool,
    /// Where errors are told.
    pub errors: &'a mut dyn Write,
    /// True when a line there can be drawn again.
    pub errors_is_terminal: bool,
}

impl Context<'_> {
    /// Where the progress of long work is told.
    fn watch(&mut self) -> Watch<'_> {
        Watch {
            errors: self.errors,
            is_terminal: self.errors_is_terminal,
        }
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Runs one command line and returns its exit code; `serve` is what `driftless serve` does with its
/// settings.
pub fn run<E: Display>(
    arguments: impl IntoIterator<Item = OsString>,
    context: &mut Context<'_>,
    serve: impl FnOnce(Settings) -> Result<(), E>,
) -> u8 {
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(told) => return tell_usage(&told, context),
    };
    let outcome = perform(parsed.action, context, serve);
    let outcome = outcome.and_then(|()| context.output.flush().map_err(unwritable));
    match outcome {
        Ok(()) => EXIT_DONE,
        // Whoever read the output has seen enough (`driftless doc list | head`).
        Err(failure) if failure.code == BROKEN_PIPE => EXIT_DONE,
        Err(Failure { code, message }) => {
            let _ = writeln!(context.errors, "error: {message}");
            code
        }
    }
}

fn perform<E: Display>(
    action: Action,
    context: &mut Context<'_>,
    serve: impl FnOnce(Settings) -> Result<(), E>,
) -> Result<(), Failure> {
    match action {
        Action::Serve { flags } => {
            let settings = settings(&flags.0, context)?.settings;
            check::guarded(&settings)?;
            crate::logging::start(&settings)?;
            serve(settings).map_err(|error| Failure::new(EXIT_FAILED, error))
        }
        Action::Config { flags, json } => {
            let loaded = settings(&flags.0, context)?;
            print_settings(&loaded, json, context.output)?;
            Ok(check::guarded(&loaded.settings)?)
        }
        Action::Doc(on) => {
            let settings = settings(&on.flags.0, context)?.settings;
            document::perform(on.command, &settings, on.json, context)
        }
        Action::Session(on) => {
            let settings = settings(&on.flags.0, context)?.settings;
            access::sessions(on.command, &settings, on.json, context.output)
        }
        Action::Access(on) => {
            let settings = settings(&on.flags.0, context)?.settings;
            access::perform(on.command, &settings, on.json, context.output)
        }
        Action::Doctor { flags, json } => {
            let settings = settings(&flags.0, context)?.settings;
            doctor::perform(&settings, json, context)
        }
        Action::Migrate {
            flags,
            dry_run,
            new_cluster_id,
            json,
        } => {
            let settings = settings(&flags.0, context)?.settings;
            let wanted = migrate::Wanted {
                dry_run,
                new_cluster_id,
                json,
            };
            migrate::perform(wanted, &settings, context)
        }
        Action::Store {
            flags,
            json,
            command: StoreCommand::Copy { from, to },
        } => {
            let settings = settings(&flags.0, context)?.settings;
            copy::perform(&from, to.as_deref(), &settings, json, context)
        }
        Action::Import { flags, wanted } => {
            let settings = settings(&flags.0, context)?.settings;
            import::perform(&wanted, &settings, context)
        }
        Action::Backup { flags, json, file } => {
            let settings = settings(&flags.0, context)?.settings;
            document::backup(&file, &settings, json, context.output)
        }
        Action::Restore { flags, json, file } => {
            let settings = settings(&flags.0, context)?.settings;
            document::restore(&file, &settings, json, context.output)
        }
        Action::Token { flags, wanted } => {
            let settings = settings(&flags.0, context)?.settings;
            token::perform(wanted, &settings, context)
        }
        Action::Keys {
            command: KeysCommand::Generate { algorithm, out },
        } => keys::generate(algorithm, &out, context.output),
    }
}

fn settings(flags: &Flags, context: &Context<'_>) -> Result<Loaded, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(config::load(flags, context.environment, cores as u64)?)
}

fn print_settings(loaded: &Loaded, json: bool, output: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return print::json(&report::as_json(&loaded.effective), output);
    }
    let text = report::as_toml(&loaded.effective);
    output.write_all(text.as_bytes()).map_err(unwritable)
}

/// Help and version are asked for, and printed; anything else is an error with a hint.
fn tell_usage(told: &clap::Error, context: &mut Context<'_>) -> u8 {
    let text = told.render().to_string();
    let (stream, code) = if told.use_stderr() {
        (&mut context.errors, EXIT_USAGE)
    } else {
        (&mut context.output, EXIT_DONE)
    };
    let _ = stream.write_all(text.as_bytes());
    code
}

/// Not an exit code: tells [`run`] that the reader of the output left.
const BROKEN_PIPE: u8 = u8::MAX;

fn unwritable(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::new(BROKEN_PIPE, error);
    }
    Failure::new(
        EXIT_FAILED,
        format!("the output cannot be written: {error}"),
    )
}
