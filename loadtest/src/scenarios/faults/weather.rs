//! Lets the faults of a plan happen to a cluster, each in its time, and puts everything in order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use driftless_cluster::{BusNoise, Cluster, ClusterError, Conditions, Part, Who};

use super::plan::{Fault, Plan, To, What};

/// How often parts that ended by themselves are looked for.
const REVIVE_EVERY: Duration = Duration::from_millis(250);

/// People join and type for so long before the first fault, and after the last.
const CALM: Duration = Duration::from_millis(700);

/// What was typed last is on its way for less than this, where nothing holds it up.
const SILENCE: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Step<'a> {
    Begin(&'a Fault),
    End(&'a Fault),
}

/// What there is to tell after the faults.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// Nodes that did not stop in good order when they were asked to.
    pub(super) rude: Vec<String>,
    /// The longest that a node took to stop.
    pub(super) stop_seconds_max: f64,
    /// How long it took until all parts worked again.
    pub(super) order_seconds: f64,
}

/// Lets a round's faults happen, then puts everything in order. Sets `hush` when typing has to end.
pub(super) fn happen(
    cluster: &mut Cluster,
    noise: &BusNoise,
    plan: &Plan,
    hush: &AtomicBool,
) -> Result<Aftermath, ClusterError> {
    std::thread::sleep(CALM);
    let begun = Instant::now();
    let mut aftermath = Aftermath::default();
    let mut steps: Vec<(u64, Step<'_>)> = Vec::new();
    for fault in &plan.faults {
        steps.push((fault.at_ms, Step::Begin(fault)));
        steps.push((fault.at_ms + fault.for_ms, Step::End(fault)));
    }
    steps.sort_by_key(|(at_ms, _)| *at_ms);
    let last = steps.len().saturating_sub(1);
    for (number, (at_ms, step)) in steps.into_iter().enumerate() {
        let due = Duration::from_millis(at_ms);
        while let Some(left) = due.checked_sub(begun.elapsed()) {
            std::thread::sleep(left.min(REVIVE_EVERY));
            cluster.revive()?;
        }
        if number == last && plan.ends_in_silence {
            hush.store(true, Ordering::Release);
            std::thread::sleep(SILENCE);
        }
        match step {
            Step::Begin(fault) => begin(cluster, noise, &fault.what, &mut aftermath)?,
            Step::End(fault) => end(cluster, noise, &fault.what)?,
        }
    }
    let disorder = Instant::now();
    cluster.put_in_order()?;
    aftermath.order_seconds = disorder.elapsed().as_secs_f64();
    std::thread::sleep(CALM);
    noise.set_loud(false);
    Ok(aftermath)
}

fn begin(
    cluster: &mut Cluster,
    noise: &BusNoise,
    what: &What,
    aftermath: &mut Aftermath,
) -> Result<(), ClusterError> {
    match what {
        What::Kill(who) => cluster.part(*who).kill(),
        What::Pause(who) => cluster.part(*who).pause(),
        What::Link(node, to, conditions) => set(cluster, *node, *to, conditions.clone()),
        What::Rolling => {
            for node in 0..cluster.nodes().len() {
                restart(cluster.part(Who::Node(node)), aftermath)?;
            }
        }
        What::Noise => noise.set_loud(true),
        What::Restore => cluster.postgres_mut().put_aside()?,
    }
    Ok(())
}

fn end(cluster: &mut Cluster, noise: &BusNoise, what: &What) -> Result<(), ClusterError> {
    match what {
        What::Kill(who) => cluster.part(*who).start(),
        What::Pause(who) => {
            cluster.part(*who).resume();
            Ok(())
        }
        What::Link(node, to, _) => {
            set(cluster, *node, *to, Conditions::default());
            Ok(())
        }
        What::Rolling => Ok(()),
        What::Noise => {
            noise.set_loud(false);
            Ok(())
        }
        What::Restore => cluster.postgres_mut().set_back(),
    }
}

/// A node that stands still cannot stop, one that was killed need not.
fn restart(node: &mut dyn Part, aftermath: &mut Aftermath) -> Result<(), ClusterError> {
    if !node.process_mut().is_running() || node.process().is_paused() {
        return Ok(());
    }
    let begun = Instant::now();
    if !node.stop() {
        aftermath.rude.push(node.process().name().to_owned());
    }
    let seconds = begun.elapsed().as_secs_f64();
    aftermath.stop_seconds_max = aftermath.stop_seconds_max.max(seconds);
    node.start()
}

fn set(cluster: &Cluster, node: usize, to: To, conditions: Conditions) {
    let link = match to {
        To::Redis => cluster.redis_link(node),
        To::Postgres => cluster.postgres_link(node),
    };
    if let Some(link) = link {
        link.set(conditions);
    }
}
