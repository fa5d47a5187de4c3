//! `cargo xtask test`: the suites, run one after the other, each with its time and verdict.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::command::{cargo, program, run as run_command};
use crate::error::StepError;
use crate::metadata::Metadata;
use crate::{setup, tidy};

/// The target that proves that the protocol needs no system.
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// How a suite ended without failing.
enum Verdict {
    Passed,
    /// It could not run here, and the machine is allowed to lack what it needs: the reason.
    Skipped(String),
}

/// What a suite may use.
struct Context {
    root: PathBuf,
    target: PathBuf,
}

struct Suite {
    name: &'static str,
    proves: &'static str,
    run: fn(&Context) -> Result<Verdict, StepError>,
}

/// Cheap checks first, so that a slip is known within seconds.
const SUITES: [Suite; 6] = [
    Suite {
        name: "fmt",
        proves: "the code is formatted",
        run: fmt,
    },
    Suite {
        name: "tidy",
        proves: "layout, edges, headers and sizes hold",
        run: check_tidy,
    },
    Suite {
        name: "deny",
        proves: "licences, sources and bans of crates hold",
        run: deny,
    },
    Suite {
        name: "clippy",
        proves: "no lint in any target, with and without features",
        run: clippy,
    },
    Suite {
        name: "rust",
        proves: "all tests of all crates pass",
        run: rust,
    },
    Suite {
        name: "wasm",
        proves: "the protocol builds for wasm32",
        run: wasm,
    },
];

/// Runs all suites, or those named by `--suite`; every suite runs, whatever the others said.
pub(crate) fn run(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let list = arguments.flag("--list");
    let mut wanted = Vec::new();
    while let Some(name) = arguments.value("--suite")? {
        wanted.push(name);
    }
    arguments.finish()?;
    if list {
        SUITES
            .iter()
            .for_each(|suite| println!("{:<9} {}", suite.name, suite.proves));
        return Ok(());
    }
    let chosen = choose(&wanted)?;
    let target = Metadata::read(root)?.target_directory;
    let context = Context {
        root: root.to_path_buf(),
        target,
    };
    let results: Vec<_> = chosen
        .into_iter()
        .map(|suite| run_suite(&context, suite))
        .collect();
    summarize(&results)
}

fn choose(wanted: &[String]) -> Result<Vec<&'static Suite>, StepError> {
    if wanted.is_empty() {
        return Ok(SUITES.iter().collect());
    }
    let find = |name: &String| {
        SUITES
            .iter()
            .find(|suite| suite.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
                StepError::Usage(format!(
                    "there is no suite {name:?}; there are {}",
                    names.join(", ")
                ))
            })
    };
    wanted.iter().map(find).collect()
}

struct SuiteResult {
    name: &'static str,
    took: Duration,
    verdict: Result<Verdict, StepError>,
}

fn run_suite(context: &Context, suite: &'static Suite) -> SuiteResult {
    println!("\n=== {}: {}", suite.name, suite.proves);
    let start = Instant::now();
    let verdict = (suite.run)(context);
    let result = SuiteResult {
        name: suite.name,
        took: start.elapsed(),
        verdict,
    };
    println!("{}", line(&result));
    result
}

fn line(result: &SuiteResult) -> String {
    let seconds = result.took.as_secs_f64();
    let verdict = match &result.verdict {
        Ok(Verdict::Passed) => "passed".to_owned(),
        Ok(Verdict::Skipped(reason)) => format!("SKIPPED, NOT PROVED: {reason}"),
        Err(error) => format!("FAILED: {error}"),
    };
    format!("--- {:<9} {seconds:>7.1} s  {verdict}", result.name)
}

fn summarize(results: &[SuiteResult]) -> Result<(), StepError> {
    println!("\n=== summary");
    results
        .iter()
        .for_each(|result| println!("{}", line(result)));
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.verdict.is_err())
        .map(|result| result.name)
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(StepError::Usage(format!("failed: {}", failed.join(", "))))
}

fn passed(result: Result<(), StepError>) -> Result<Verdict, StepError> {
    result.map(|()| Verdict::Passed)
}

fn fmt(context: &Context) -> Result<Verdict, StepError> {
    passed(run_command(
        cargo(&context.root).args(["fmt", "--all", "--check"]),
    ))
}

fn check_tidy(context: &Context) -> Result<Verdict, StepError> {
    passed(tidy::run(&context.root))
}

fn deny(context: &Context) -> Result<Verdict, StepError> {
    let cargo_deny = setup::cargo_deny(&context.root, &context.target)?;
    let mut command = program(&cargo_deny.display().to_string(), &context.root);
    command.args([
        "--all-features",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    passed(run_command(&mut command))
}

/// Features add code and so do tests: both with everything on, and what users build.
fn clippy(context: &Context) -> Result<Verdict, StepError> {
    let lint = |arguments: &[&str]| {
        let mut command = cargo(&context.root);
        command
            .args(["clippy", "--locked", "--workspace"])
            .args(arguments);
        run_command(command.args(["--", "--deny", "warnings"]))
    };
    lint(&["--all-targets", "--all-features"])?;
    passed(lint(&[]))
}

/// One build with all features serves this suite and every later one.
fn rust(context: &Context) -> Result<Verdict, StepError> {
    let arguments = [
        "test",
        "--locked",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
    ];
    passed(run_command(cargo(&context.root).args(arguments)))
}

fn wasm(context: &Context) -> Result<Verdict, StepError> {
    if !setup::wasm_target(&context.root, WASM_TARGET) {
        let reason = format!("no standard library for {WASM_TARGET}, and rustup cannot add it");
        return Ok(Verdict::Skipped(reason));
    }
    let arguments = [
        "check",
        "--locked",
        "--package",
        "driftless-proto",
        "--target",
        WASM_TARGET,
    ];
    passed(run_command(cargo(&context.root).args(arguments)))
}
