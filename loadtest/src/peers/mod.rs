//! The comparison: the same questions to every server, one after the other on the same CPU, and a
//! page with what came out.

mod growth;
mod page;
mod picture;
mod questions;
pub(crate) mod relay;
mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use self::growth::Growth;
use self::questions::{QUESTIONS, Question};
use self::servers::{Installed, SERVERS, Server};
use crate::bench::RunError;
use crate::cli::{Dialect, Peers};
use crate::client::target::Target;
use crate::report::Progress;
use crate::serve::Served;
use crate::usage;

/// Servers take turns on this port and the next ones, so that none waits for the last one's.
const FIRST_PORT: u16 = 18_400;

/// What was measured: by question, figure and server.
type Measured = BTreeMap<(usize, usize, usize), Vec<f64>>;

/// A comparison under way.
struct Comparison<'a> {
    settings: &'a Peers,
    program: PathBuf,
    folder: PathBuf,
    progress: Progress,
    next_port: u16,
    runs: usize,
}

/// Everything that the page tells.
struct Results {
    /// Each server, and why it is missing, if it is.
    servers: Vec<(Server, Option<String>)>,
    measured: Measured,
    /// What a run said against its figures: server, question, warning.
    warnings: Vec<(String, String, String)>,
    growth: Option<Growth>,
    rounds: usize,
    machine: String,
}

/// Installs, measures and writes the page.
pub(crate) fn run(settings: &Peers) -> Result<(), RunError> {
    let root = std::env::current_dir()?;
    if !root.join("loadtest/peers").is_dir() {
        return Err(RunError::Settings(
            "run this in the root of the repository: the other servers are installed there"
                .to_owned(),
        ));
    }
    let program = std::env::current_exe()?;
    let folder = root.join("target/peers/data");
    let mut comparison = Comparison {
        settings,
        program,
        folder,
        progress: Progress::new(),
        next_port: FIRST_PORT,
        runs: 0,
    };
    let results = comparison.measure(&root)?;
    comparison.progress.clear();
    page::write(&settings.page, &results)?;
    Ok(())
}

impl Comparison<'_> {
    fn measure(&mut self, root: &Path) -> Result<Results, RunError> {
        let is_wanted = |server: &&Server| {
            self.settings.only.is_empty()
                || self.settings.only.iter().any(|name| name == server.name)
        };
        let wanted: Vec<Server> = SERVERS.iter().filter(is_wanted).copied().collect();
        let mut results = Results {
            servers: Vec::new(),
            measured: Measured::new(),
            warnings: Vec::new(),
            growth: None,
            rounds: self.settings.rounds,
            machine: machine(),
        };
        let mut installed = Vec::new();
        for server in wanted {
            self.progress.show(&format!("installing {}", server.name));
            let ready = server.install(root, &self.program);
            results
                .servers
                .push((server, ready.as_ref().err().cloned()));
            installed.push(ready.ok());
        }
        for round in 0..self.settings.rounds.max(1) {
            for (number, question) in QUESTIONS.iter().enumerate() {
                if question.once && round > 0 {
                    continue;
                }
                for (column, server) in installed.iter().enumerate() {
                    if let Some(server) = server.as_ref().filter(|it| question.suits(&it.server)) {
                        self.ask(server, question, (number, column), round, &mut results);
                    }
                }
            }
        }
        let driftless = installed
            .iter()
            .flatten()
            .find(|it| it.server.name == SERVERS[0].name);
        if let Some(driftless) = driftless.filter(|_| !self.settings.without_growth) {
            results.growth = Some(growth::measure(self, driftless)?);
        }
        Ok(results)
    }

    /// One run of one question; a server that fails it gets no figure and a warning.
    fn ask(
        &mut self,
        server: &Installed,
        question: &Question,
        (number, column): (usize, usize),
        round: usize,
        results: &mut Results,
    ) {
        let name = server.server.name;
        let title = question.title;
        self.progress
            .show(&format!("round {}: {name}: {title}", round + 1));
        let outcome = self.run(server, question.arguments, question.starts_server);
        let mut warn = |warning: String| {
            let warning = (name.to_owned(), title.to_owned(), warning);
            if !results.warnings.contains(&warning) {
                results.warnings.push(warning);
            }
        };
        let line = match outcome {
            Ok(line) => line,
            Err(error) => return warn(error.to_string()),
        };
        for warning in line["warnings"].as_array().into_iter().flatten() {
            warn(warning.as_str().unwrap_or_default().to_owned());
        }
        for (at, figure) in question.figures.iter().enumerate() {
            if let Some(value) = line[figure.key].as_f64() {
                let values = results.measured.entry((number, at, column)).or_default();
                values.push(value);
            }
        }
    }

    /// Starts a fresh server on its CPU, runs a scenario against it and returns its line of JSON.
    fn run(
        &mut self,
        server: &Installed,
        arguments: &[&str],
        starts_server: bool,
    ) -> Result<Value, RunError> {
        self.run_on(
            &self.settings.cpu.to_string(),
            server,
            arguments,
            starts_server,
        )
    }

    /// The same on the server's CPU and the generator's.
    fn run_on_two_cpus(
        &mut self,
        server: &Installed,
        arguments: &[&str],
    ) -> Result<Value, RunError> {
        let cpus = format!("{},{}", self.settings.cpu, self.settings.cpu + 1);
        self.run_on(&cpus, server, arguments, false)
    }

    fn run_on(
        &mut self,
        cpus: &str,
        server: &Installed,
        arguments: &[&str],
        starts_server: bool,
    ) -> Result<Value, RunError> {
        self.runs += 1;
        let port = self.next_port;
        self.next_port += 1;
        let data = self.folder.join(format!("{}", self.runs));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&self.folder)?;
        let command = server.command(cpus, port, &data);
        let url = server.url(port);
        let mut child = Command::new(&self.program);
        child.args(arguments).args(["--json", "--url", &url]);
        child.args(["--pin", &(self.settings.cpu + 1).to_string()]);
        if server.server.is_hocuspocus() {
            child.args(["--dialect", "hocuspocus"]);
        }
        let mut served = None;
        if starts_server {
            child.args(["--serve", &command]);
        } else {
            let target = Target::parse(&url, Dialect::YWebsocket)?;
            let (running, _) = Served::start(&command, &target)?;
            child.args(["--pid", &running.process().0.to_string()]);
            served = Some(running);
        }
        let output = child.stdin(Stdio::null()).output()?;
        if let Some(served) = served {
            served.stop();
        }
        let _ = std::fs::remove_dir_all(&data);
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(RunError::Settings(told));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| {
            RunError::Settings(format!("the scenario printed no figures: {error}"))
        })
    }
}

/// The machine, as far as figures depend on it.
fn machine() -> String {
    let file = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = file
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, model)| model.trim());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let descriptors = usage::raise_descriptor_limit().unwrap_or(0);
    format!(
        "{cpus} CPUs ({model}), Linux {}, {descriptors} open files",
        kernel.trim()
    )
}

/// The middle of some values.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => sorted.get(length / 2).copied(),
        length => Some((sorted.get(length / 2 - 1)? + sorted.get(length / 2)?) / 2.0),
    }
}
