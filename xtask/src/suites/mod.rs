//! `cargo xtask test`: the suites, run one after the other, each with its time and verdict.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::error::StepError;
use crate::metadata::Metadata;
use crate::setup;

mod steps;

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

/// Runs all suites, or those named by `--suite`; every suite runs, whatever the others said.
pub(crate) fn run(root: &Path, mut arguments: Arguments) -> Result<(), StepError> {
    let list = arguments.flag("--list");
    let mut wanted = Vec::new();
    while let Some(name) = arguments.value("--suite")? {
        wanted.push(name);
    }
    arguments.finish()?;
    if list {
        steps::SUITES
            .iter()
            .for_each(|suite| println!("{:<9} {}", suite.name, suite.proves));
        return Ok(());
    }
    let chosen = choose(&wanted)?;
    setup::make(root)?;
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
        return Ok(steps::SUITES.iter().collect());
    }
    let find = |name: &String| {
        steps::SUITES
            .iter()
            .find(|suite| suite.name == name)
            .ok_or_else(|| {
                let names: Vec<_> = steps::SUITES.iter().map(|suite| suite.name).collect();
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
    let total: Duration = results.iter().map(|result| result.took).sum();
    println!("--- total     {:>7.1} s", total.as_secs_f64());
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.verdict.is_err())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = failed.iter().map(|result| result.name).collect();
    Err(StepError::Suites(names.join(", ")))
}
