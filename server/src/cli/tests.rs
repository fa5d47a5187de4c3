//! Command lines against real folders: what is printed, and the exit codes.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

mod imports;
mod running;
mod stopped;
mod stores;
mod tokens;
mod upkeep;
mod usage;

type Variables = Vec<(&'static str, &'static str)>;

/// What one command line did.
#[derive(Debug)]
struct Ran {
    code: u8,
    output: Vec<u8>,
    errors: String,
}

impl Ran {
    fn text(&self) -> String {
        assert_eq!(self.code, EXIT_DONE, "{}", self.errors);
        String::from_utf8(self.output.clone()).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// The message of a command that failed with this code.
    fn failed(&self, code: u8) -> &str {
        assert_eq!(self.code, code, "{}", self.errors);
        &self.errors
    }
}

fn never_serve(_: Settings) -> Result<(), String> {
    Err("this test serves nothing".into())
}

/// Runs a command line with an environment and standard input of its own.
fn ran_with(arguments: &[&str], environment: &Variables, mut input: &[u8]) -> Ran {
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let mut context = Context {
        environment,
        input: &mut input,
        output: &mut output,
        output_is_terminal: false,
        errors: &mut errors,
        errors_is_terminal: false,
    };
    let arguments = std::iter::once("driftless").chain(arguments.iter().copied());
    let code = run(arguments.map(Into::into), &mut context, never_serve);
    Ran {
        code,
        output,
        errors: String::from_utf8(errors).unwrap(),
    }
}

fn ran(arguments: &[&str]) -> Ran {
    ran_with(arguments, &Variables::new(), b"")
}

/// Runs a command line on this data folder.
fn ran_on(data: &Path, arguments: &[&str]) -> Ran {
    let mut all = arguments.to_vec();
    all.extend(["--data", data.to_str().unwrap()]);
    ran(&all)
}
