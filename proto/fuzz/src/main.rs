//! The command `driftless-fuzz`: runs one target for a number of inputs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use driftless_fuzz::corpus;
use driftless_fuzz::report::Report;
use driftless_fuzz::support::random::Random;
use driftless_fuzz::targets::{TARGETS, contain, target};

/// Mutate inputs of a decoder and check what follows. Exits with 1 when a property does not hold.
#[derive(Debug, Parser)]
#[command(name = "driftless-fuzz")]
struct Arguments {
    /// The decoder to test.
    #[arg(value_parser = TARGETS)]
    target: String,
    /// How many inputs to try.
    #[arg(long, default_value_t = 100_000)]
    inputs: u64,
    /// Where the random numbers start; the same seed gives the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run this stored input alone, and show what became of it.
    #[arg(long, value_name = "FILE")]
    replay: Option<std::path::PathBuf>,
    /// How many threads share the inputs; each has its own seed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "driftless-fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether all properties held.
fn run(arguments: &Arguments) -> io::Result<bool> {
    contain::quieten();
    if let Some(path) = &arguments.replay {
        let input = std::fs::read(path)?.into();
        let mut report = Report::default();
        let mut target = target(&arguments.target, Vec::new(), arguments.seed)
            .ok_or_else(|| io::Error::other("there is no such target"))?;
        target.replay(&input, &mut report);
        write!(io::stdout().lock(), "{report}")?;
        return Ok(report.violations.is_empty());
    }
    let inputs = arguments.inputs.div_ceil(arguments.workers);
    let seeds =
        (0..arguments.workers).map(|worker| arguments.seed.wrapping_add(worker * 1_000_003));
    let reports: Vec<io::Result<Report>> = std::thread::scope(|scope| {
        let workers: Vec<_> = seeds
            .map(|seed| {
                scope.spawn(move || contain::contain(|| work(&arguments.target, inputs, seed)))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| match worker.join() {
                Ok(Ok(report)) => report,
                Ok(Err(place)) => Err(io::Error::other(format!("panic at {place}"))),
                Err(_) => Err(io::Error::other("a worker died")),
            })
            .collect()
    });
    let mut held = true;
    for report in reports {
        held &= report?.violations.is_empty();
    }
    Ok(held)
}

/// How often a worker tells how it goes.
const PROGRESS_SECONDS: u64 = 30;

fn work(name: &str, inputs: u64, seed: u64) -> io::Result<Report> {
    let stored = corpus::load(name)?.into_iter().map(|(_, input)| input);
    let mut target = target(name, stored.collect(), seed)
        .ok_or_else(|| io::Error::other("there is no such target"))?;
    let mut random = Random::new(seed);
    let mut report = Report::default();
    let start = Instant::now();
    let mut told = 0;
    while report.inputs < inputs {
        target.step(&mut random, &mut report);
        let seconds = start.elapsed().as_secs();
        if report.inputs.is_multiple_of(16) && seconds >= told + PROGRESS_SECONDS {
            told = seconds;
            tell(name, seed, &report, start)?;
        }
    }
    tell(name, seed, &report, start)?;
    Ok(report)
}

fn tell(name: &str, seed: u64, report: &Report, start: Instant) -> io::Result<()> {
    let rate = report.inputs as f64 / start.elapsed().as_secs_f64().max(0.001);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{name} seed {seed}: {rate:.0} inputs/s, {} MB",
        resident_mb()
    )?;
    write!(out, "{report}")?;
    out.flush()
}

/// The memory of this process in megabytes; 0 where the system does not say.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}
