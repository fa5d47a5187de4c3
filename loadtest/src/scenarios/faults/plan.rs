//! What happens in a round, drawn from its seed: which part suffers what, when and how long.

use std::fmt;
use std::time::Duration;

use driftless_cluster::{Conditions, Who};
use fastrand::Rng;

use crate::cli::FaultKind;

/// Faults of one round at the most; they overlap.
const FAULTS_MAX: usize = 4;

/// Faults begin within this time.
const BEGIN_WITHIN_MS: u64 = 3_000;

/// The shortest fault.
const SHORTEST_MS: u64 = 500;

/// What a node's link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Redis,
    Postgres,
}

/// What happens to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Kill(Who),
    Pause(Who),
    Link(usize, To, Conditions),
    Rolling,
    Noise,
    Restore,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: What,
    pub(super) at_ms: u64,
    pub(super) for_ms: u64,
}

/// The faults of one round, and how its people behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) faults: Vec<Fault>,
    /// Connections that each person makes at the most before leaving with what it holds.
    pub(super) lives_max: u32,
    /// Nobody types any more when the last fault ends: whoever missed something is not told of it by
    /// what comes next.
    pub(super) ends_in_silence: bool,
}

impl Plan {
    /// Whether commits fail or wait at some time of the round.
    pub(super) fn hurts_store(&self) -> bool {
        self.faults.iter().any(|fault| match &fault.what {
            What::Kill(who) | What::Pause(who) => *who == Who::Postgres,
            What::Link(_, to, _) => *to == To::Postgres,
            What::Restore => true,
            What::Rolling | What::Noise => false,
        })
    }

    /// Draws a round.
    pub(super) fn draw(dice: &mut Rng, kinds: &[FaultKind], nodes: usize, longest_ms: u64) -> Self {
        // Whoever never comes back hides no loss; whoever does tells whether it may.
        let lives_max = if dice.bool() { 1 } else { dice.u32(2..=6) };
        let mut faults = Vec::new();
        let is_restore = kinds == [FaultKind::Restore]
            || (kinds.contains(&FaultKind::Restore) && dice.u8(..8) == 0);
        if is_restore {
            // By itself: what a killed node held was held by nobody.
            faults.push(Fault {
                what: What::Restore,
                at_ms: 0,
                for_ms: dice.u64(1_500..=4_000),
            });
        } else {
            let choice: Vec<_> = kinds
                .iter()
                .copied()
                .filter(|kind| *kind != FaultKind::Restore)
                .collect();
            for _ in 0..dice.usize(1..=FAULTS_MAX) {
                if let Some(kind) = dice.choice(&choice) {
                    faults.push(draw_fault(dice, *kind, nodes, longest_ms));
                }
            }
        }
        Self {
            faults,
            lives_max,
            ends_in_silence: dice.bool(),
        }
    }
}

fn draw_fault(dice: &mut Rng, kind: FaultKind, nodes: usize, longest_ms: u64) -> Fault {
    let node = dice.usize(..nodes);
    let who = match dice.u8(..5) {
        0 => Who::Redis,
        1 => Who::Postgres,
        _ => Who::Node(node),
    };
    let to = if dice.bool() { To::Redis } else { To::Postgres };
    let what = match kind {
        FaultKind::Kill => What::Kill(who),
        FaultKind::Pause => What::Pause(who),
        FaultKind::Link => What::Link(node, to, draw_conditions(dice)),
        FaultKind::Loss => {
            let lost_per_mille = dice.u16(100..=1_000);
            let conditions = Conditions {
                lost_per_mille,
                ..Conditions::default()
            };
            What::Link(node, To::Redis, conditions)
        }
        FaultKind::Rolling => What::Rolling,
        FaultKind::Noise | FaultKind::Restore => What::Noise,
    };
    Fault {
        what,
        at_ms: dice.u64(..BEGIN_WITHIN_MS),
        for_ms: dice.u64(SHORTEST_MS..=longest_ms.max(SHORTEST_MS)),
    }
}

fn draw_conditions(dice: &mut Rng) -> Conditions {
    let mut conditions = Conditions::default();
    match dice.u8(..4) {
        0 => conditions.is_cut = true,
        1 => conditions.is_black_hole = true,
        2 => conditions.latency = Duration::from_millis(dice.u64(20..=800)),
        _ => conditions.bytes_per_second = Some(dice.u32(500..=20_000)),
    }
    conditions
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(formatter, "kill {}", name(*who)),
            Self::Pause(who) => write!(formatter, "pause {}", name(*who)),
            Self::Link(node, to, conditions) => {
                let to = match to {
                    To::Redis => "redis",
                    To::Postgres => "postgres",
                };
                let how = describe(conditions);
                write!(formatter, "{how} node-{} to {to}", node + 1)
            }
            Self::Rolling => formatter.write_str("rolling restart"),
            Self::Noise => formatter.write_str("bus noise"),
            Self::Restore => formatter.write_str("postgres set back"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1e3;
        write!(
            formatter,
            "{} at {:.1}+{:.1}s",
            self.what,
            seconds(self.at_ms),
            seconds(self.for_ms)
        )
    }
}

fn name(who: Who) -> String {
    match who {
        Who::Node(node) => format!("node-{}", node + 1),
        Who::Redis => "redis".to_owned(),
        Who::Postgres => "postgres".to_owned(),
        Who::Balancer => "balancer".to_owned(),
    }
}

fn describe(conditions: &Conditions) -> String {
    if conditions.is_cut {
        "cut".to_owned()
    } else if conditions.is_black_hole {
        "silence".to_owned()
    } else if conditions.lost_per_mille > 0 {
        format!(
            "lose {:.0}% of",
            f64::from(conditions.lost_per_mille) / 10.0
        )
    } else if let Some(rate) = conditions.bytes_per_second {
        format!("throttle to {rate} B/s")
    } else {
        format!("delay by {} ms", conditions.latency.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [FaultKind; 3] = [FaultKind::Kill, FaultKind::Link, FaultKind::Restore];

    fn draw(seed: u64, kinds: &[FaultKind]) -> Plan {
        Plan::draw(&mut Rng::with_seed(seed), kinds, 3, 5_000)
    }

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(draw(7, &KINDS), draw(7, &KINDS));
        assert!((0..50).any(|seed| draw(seed, &KINDS) != draw(7, &KINDS)));
    }

    #[test]
    fn a_restore_comes_alone_and_only_if_it_may() {
        for seed in 0..200 {
            let faults = draw(seed, &KINDS).faults;
            let restores = faults.iter().filter(|it| it.what == What::Restore).count();
            assert!(restores == 0 || faults.len() == 1);
            let without = draw(seed, &KINDS[..2]).faults;
            assert!(without.iter().all(|it| it.what != What::Restore));
            assert!(!without.is_empty());
        }
    }
}
