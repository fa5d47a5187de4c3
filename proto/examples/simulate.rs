//! Runs simulated networks by seed: `simulate --seeds N --first S`, or `--seed X --trace` for one.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driftless_proto::testing::{Report, simulate};

/// Between two lines that say how far it came.
const PROGRESS: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: simulate [--seeds N] [--first S] [--seed X] [--trace] [--keep-going]
  --seeds N      run N seeds (default 1000)
  --first S      start at seed S (default 0)
  --seed X       run this seed only
  --trace        print what happens, line by line
  --keep-going   do not stop at the first seed that fails";

/// What to run.
struct Order {
    first: u64,
    seeds: u64,
    trace: bool,
    keeps_going: bool,
}

fn main() -> ExitCode {
    match read_order(std::env::args().skip(1)) {
        Ok(order) => run(&order),
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn read_order(mut arguments: impl Iterator<Item = String>) -> Result<Order, String> {
    let mut order = Order {
        first: 0,
        seeds: 1_000,
        trace: false,
        keeps_going: false,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next();
            let number = text.as_ref().and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--seeds" => order.seeds = number()?,
            "--first" => order.first = number()?,
            "--seed" => {
                order.first = number()?;
                order.seeds = 1;
            }
            "--trace" => order.trace = true,
            "--keep-going" => order.keeps_going = true,
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    Ok(order)
}

fn run(order: &Order) -> ExitCode {
    let began = Instant::now();
    let mut told = began;
    let mut total: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut done = 0;
    for seed in order.first..order.first.saturating_add(order.seeds) {
        done += 1;
        match run_seed(seed, order.trace) {
            Ok(report) => {
                for (what, count) in report.tally {
                    *total.entry(what).or_default() += count;
                }
            }
            Err(problem) => {
                println!("FAILED: {problem}");
                println!("replay: cargo xtask simulate --seed {seed} --trace");
                failed.push(seed);
                if !order.keeps_going {
                    break;
                }
            }
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            println!("{done} of {} seeds, {} failed", order.seeds, failed.len());
        }
    }
    summarize(done, &failed, &total, began.elapsed());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one seed; a panic is a failure like any other.
fn run_seed(seed: u64, trace: bool) -> Result<Report, String> {
    let outcome = std::panic::catch_unwind(|| simulate(seed, trace));
    let (lines, result) = match outcome {
        Ok(Ok(mut report)) => (std::mem::take(&mut report.trace), Ok(report)),
        Ok(Err(mut failure)) => {
            let problem = failure.to_string();
            (std::mem::take(&mut failure.trace), Err(problem))
        }
        Err(_) => (Vec::new(), Err(format!("seed {seed} panicked"))),
    };
    for line in lines {
        println!("{line}");
    }
    result
}

fn summarize(done: u64, failed: &[u64], total: &BTreeMap<&'static str, u64>, took: Duration) {
    let counts: Vec<_> = total
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    println!("{}", counts.join(", "));
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    println!(
        "{done} seeds, {} failed, {:.1} s, {rate:.0} seeds/s",
        failed.len(),
        took.as_secs_f64()
    );
    if !failed.is_empty() {
        println!("failed seeds: {failed:?}");
    }
}
