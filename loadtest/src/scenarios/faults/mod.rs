//! faults: people write to the documents of a whole cluster while parts of it are killed, paused, cut
//! off and set back. Then everybody has to agree, and what was acknowledged has to be there: with
//! those who stayed, and for new ones after all nodes were killed at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use driftless_cluster::{BusNoise, Cluster, ClusterOptions, NodeOptions, Part, Who};
use fastrand::Rng;

use self::crowd::{Crowd, Habits, Way};
use self::plan::Plan;
use self::weather::Aftermath;
use crate::bench::{RunError, scramble};
use crate::cli::{FaultKind, Faults};
use crate::report::Report;

mod check;
mod crowd;
mod person;
mod plan;
mod weather;

/// Rounds on the same documents; then new ones keep texts, and what is owed, small.
const ROUNDS_ON_DOCUMENTS: u64 = 5;

/// A stop that takes longer is told.
const STOP_SECONDS_USUAL: f64 = 5.0;

/// Ids of clients need not be as large as Yjs's; a round makes a few hundred.
const CLIENTS_PER_ROUND: u64 = 1 << 16;

/// Runs the scenario.
pub(crate) fn run(settings: &Faults) -> Result<Report, RunError> {
    if settings.documents == 0 || settings.writers == 0 || settings.nodes == 0 {
        let why = "--documents, --writers and --nodes must be above zero".to_owned();
        return Err(RunError::Settings(why));
    }
    let first_seed = settings.seed.unwrap_or_else(any_seed);
    let cluster = Cluster::start(&ClusterOptions {
        nodes: settings.nodes,
        node: NodeOptions {
            binary: std::path::absolute(&settings.binary)?,
            arguments: settings.settings.clone(),
        },
        postgres_port: 0,
        has_links: true,
        says_who: false,
    })?;
    let mut run = Run {
        noise: BusNoise::start(&cluster.redis().url(), first_seed)?,
        cluster,
        settings,
        kinds: kinds(settings),
        totals: Totals::default(),
    };
    say(&format!("logs in {}", run.cluster.folder().display()));
    for round in 0..settings.rounds {
        run.round(round, first_seed + round)?;
    }
    let broken = run.totals.broken.clone();
    if broken.is_empty() {
        run.totals.rude.extend(run.cluster.stop());
        return Ok(run.report(first_seed));
    }
    let folder = run.cluster.keep_folder();
    run.cluster.stop();
    let broken = broken.join("\n  ");
    Err(RunError::Broken(format!(
        "not as promised:\n  {broken}\nlogs are in {}",
        folder.display()
    )))
}

fn any_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    scramble(since.unwrap_or_default().as_nanos() as u64) >> 40
}

fn kinds(settings: &Faults) -> Vec<FaultKind> {
    if !settings.only.is_empty() {
        return settings.only.clone();
    }
    let all = FaultKind::value_variants().iter().copied();
    all.filter(|kind| !settings.without.contains(kind))
        .collect()
}

#[derive(Debug, Default)]
struct Totals {
    edits: u64,
    acked: u64,
    lost: u64,
    denied: u64,
    converge_seconds_max: f64,
    /// What did not hold, with the seed of its round.
    broken: Vec<String>,
    /// Nodes that were asked to stop and did not do so in good order.
    rude: Vec<String>,
}

#[derive(Debug)]
struct Run<'a> {
    // Listens to the cluster's Redis: gone before it.
    noise: BusNoise,
    cluster: Cluster,
    settings: &'a Faults,
    kinds: Vec<FaultKind>,
    totals: Totals,
}

/// What is printed of a round.
#[derive(Debug, Default)]
struct Verdict {
    broken: Vec<String>,
    order_seconds: f64,
    /// Until everybody agreed, if they did.
    live_seconds: Option<f64>,
    cold_seconds: Option<f64>,
    lost: u64,
}

impl Run<'_> {
    fn round(&mut self, round: u64, seed: u64) -> Result<(), RunError> {
        let mut dice = Rng::with_seed(seed);
        let longest_ms = (self.settings.longest * 1e3) as u64;
        let plan = Plan::draw(&mut dice, &self.kinds, self.settings.nodes, longest_ms);
        let first_client = (round + 1) * CLIENTS_PER_ROUND;
        let mut crowd = Crowd::new(dice, self.ways(), first_client)?;
        let era = round / ROUNDS_ON_DOCUMENTS;
        let rooms = (0..self.settings.documents).map(|it| format!("faults-{seed}-{era}-{it}"));
        crowd.move_to(rooms.collect());
        crowd.gather(
            self.settings.writers,
            Habits {
                lives_max: plan.lives_max,
                rate: self.settings.rate,
            },
        );
        let faults: Vec<_> = plan.faults.iter().map(ToString::to_string).collect();
        say(&format!(
            "round {} of {}, seed {seed}, up to {} connections each{}: {}",
            round + 1,
            self.settings.rounds,
            plan.lives_max,
            if plan.ends_in_silence {
                ", silent end"
            } else {
                ""
            },
            faults.join("; ")
        ));
        let aftermath = self.let_happen(&mut crowd, &plan)?;
        let mut verdict = Verdict {
            order_seconds: aftermath.order_seconds,
            ..Verdict::default()
        };
        if aftermath.stop_seconds_max > STOP_SECONDS_USUAL {
            let seconds = aftermath.stop_seconds_max;
            say(&format!("  a node took {seconds:.1} s to stop"));
        }
        let rude = aftermath.rude.iter();
        if !plan.hurts_store() {
            verdict
                .broken
                .extend(rude.map(|node| format!("{node} did not stop in good order")));
        }
        self.judge(&mut crowd, &mut verdict)?;
        self.tell(&crowd, verdict, seed);
        Ok(())
    }

    fn ways(&self) -> Vec<Way> {
        let balancer = Way {
            name: "the balancer".to_owned(),
            address: self.cluster.balancer().address(),
        };
        let nodes = self.cluster.nodes().iter().map(|node| Way {
            name: node.process().name().to_owned(),
            address: node.address(),
        });
        std::iter::once(balancer).chain(nodes).collect()
    }

    /// The weather has a thread of its own: people go on typing whatever a part is waited for.
    fn let_happen(&mut self, crowd: &mut Crowd, plan: &Plan) -> Result<Aftermath, RunError> {
        let (cluster, noise) = (&mut self.cluster, &self.noise);
        let hush = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let weather = scope.spawn(move || weather::happen(cluster, noise, plan, hush));
            while !weather.is_finished() {
                if hush.load(Ordering::Acquire) {
                    crowd.stop_typing();
                }
                crowd.step()?;
            }
            match weather.join() {
                Ok(happened) => Ok(happened?),
                Err(_) => Err(RunError::Broken("the weather panicked".to_owned())),
            }
        })
    }

    fn judge(&mut self, crowd: &mut Crowd, verdict: &mut Verdict) -> Result<(), RunError> {
        crowd.stop_typing();
        crowd.add_onlookers();
        let patience = self.settings.patience;
        match check::converge(crowd, patience)? {
            Ok(seconds) => {
                verdict.live_seconds = Some(seconds);
                let losses = check::losses(crowd);
                verdict.lost = losses.edits;
                verdict.fail("after the faults", losses.shown);
            }
            // What some do not see may be with others: the store will tell.
            Err(differences) => verdict.fail("after the faults", differences),
        }
        // What only the memory of a node or a client held would show by now.
        crowd.disperse();
        for node in 0..self.settings.nodes {
            self.cluster.part(Who::Node(node)).kill();
        }
        self.cluster.put_in_order()?;
        crowd.add_onlookers();
        match check::converge(crowd, patience)? {
            Ok(seconds) => verdict.cold_seconds = Some(seconds),
            Err(differences) => verdict.fail("with nothing but the store", differences),
        }
        let cold = check::losses(crowd);
        verdict.fail("with nothing but the store", cold.shown);
        verdict.lost = verdict.lost.max(cold.edits);
        crowd.disperse();
        for node in self.cluster.nodes() {
            let panics = panics(node.process().log());
            if panics > 0 {
                let name = node.process().name();
                verdict
                    .broken
                    .push(format!("{name} panicked {panics} times"));
            }
        }
        verdict.broken.extend(crowd.notes.faults.clone());
        Ok(())
    }

    fn tell(&mut self, crowd: &Crowd, verdict: Verdict, seed: u64) {
        let notes = &crowd.notes;
        let ends: u64 = notes.ends.values().sum();
        say(&format!(
            "  {} edits, {} acked, {} lost; in order after {:.1} s, agreed {}, from the store \
             {}; {ends} connections ended",
            notes.edits,
            notes.acked,
            verdict.lost,
            verdict.order_seconds,
            when(verdict.live_seconds),
            when(verdict.cold_seconds)
        ));
        for (why, times) in &notes.denied {
            say(&format!("  denied {times} times: {why}"));
        }
        for what in &verdict.broken {
            say(&format!("  BROKEN: {what}"));
        }
        let totals = &mut self.totals;
        totals.edits += notes.edits;
        totals.acked += notes.acked;
        totals.lost += verdict.lost;
        totals.denied += notes.denied.values().sum::<u64>();
        let times = [verdict.live_seconds, verdict.cold_seconds];
        let slowest = times.into_iter().flatten().fold(0.0, f64::max);
        totals.converge_seconds_max = totals.converge_seconds_max.max(slowest);
        let broken = verdict.broken.into_iter();
        totals
            .broken
            .extend(broken.map(|what| format!("seed {seed}: {what}")));
    }

    fn report(&self, first_seed: u64) -> Report {
        let totals = &self.totals;
        let mut report = Report::new("faults");
        let settings = self.settings;
        let load = format!(
            "{} nodes, {} documents, {} writers each, {} edits/s",
            settings.nodes, settings.documents, settings.writers, settings.rate
        );
        report.add("load", "load", load, "");
        report.add("seed", "first seed", first_seed, "");
        report.add("rounds", "rounds", settings.rounds, "");
        report.add("edits", "edits and cuts", totals.edits, "");
        report.add("acked", "acknowledged", totals.acked, "");
        report.add("lost", "of these lost", totals.lost, "");
        report.add("denied", "refusals", totals.denied, "");
        let label = "longest until all agreed";
        let seconds = (totals.converge_seconds_max, 1);
        report.add_rounded("converge_s_max", label, seconds, "s");
        for rude in &totals.rude {
            report.warn(format!("{rude} did not stop in good order"));
        }
        if totals.acked == 0 {
            report.warn("nothing was acknowledged: nothing is proved");
        }
        report
    }
}

impl Verdict {
    fn fail(&mut self, when: &str, what: Vec<String>) {
        let said = what.into_iter().map(|what| format!("{when}: {what}"));
        self.broken.extend(said);
    }
}

fn when(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "never".to_owned(),
        |seconds| format!("after {seconds:.1} s"),
    )
}

/// Lines of a log that tell of a panic; it begins anew with each run.
fn panics(log: &Path) -> usize {
    let log = std::fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    log.lines().filter(|line| line.contains("panic")).count()
}

/// A run takes minutes: what happens is told as it happens, on standard error.
fn say(line: &str) {
    use std::io::Write;
    // With standard error closed the exit code still tells.
    let _ = writeln!(std::io::stderr(), "{line}");
}
