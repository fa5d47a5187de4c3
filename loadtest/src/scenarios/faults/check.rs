//! Whether everybody agrees, and whether what was acknowledged is there.

use std::collections::HashMap;

use super::crowd::Crowd;
use super::person::{Owed, Person, View};
use crate::bench::RunError;
use crate::client::coverage::Coverage;
use crate::client::timer::seconds_ns;
use crate::client::update::{Run, for_each_deletion, for_each_run};

/// How often people are compared.
const COMPARE_NS: u64 = 200_000_000;

/// Differences that are shown; one is enough to look for the cause.
const SHOWN_MAX: usize = 4;

/// Lets the crowd go on until everybody has the same and all is acknowledged. Returns the seconds that
/// took, or what is not as it should be.
pub(super) fn converge(
    crowd: &mut Crowd,
    patience: f64,
) -> Result<Result<f64, Vec<String>>, RunError> {
    let begun_ns = crowd.now_ns();
    let mut compare_ns = begun_ns;
    loop {
        crowd.step()?;
        let now_ns = crowd.now_ns();
        if now_ns < compare_ns {
            continue;
        }
        compare_ns = now_ns + COMPARE_NS;
        let differences = differences(crowd);
        if differences.is_empty() {
            return Ok(Ok((now_ns - begun_ns) as f64 / 1e9));
        }
        if now_ns - begun_ns > seconds_ns(patience) {
            return Ok(Err(differences));
        }
    }
}

fn differences(crowd: &Crowd) -> Vec<String> {
    let mut found = Vec::new();
    if !crowd.is_at_rest() {
        let restless = |person: &&Person| !(person.is_synced() && person.is_acked());
        let restless = crowd.people().iter().filter(restless);
        found.extend(restless.take(SHOWN_MAX).map(|person| {
            let room = &crowd.rooms()[person.document];
            let what = match (person.is_synced(), person.connection) {
                (true, _) => "has edits that are not acknowledged",
                (false, Some(_)) => "is connected and not synced",
                (false, None) => "is not connected",
            };
            format!("{room} over {}: {what}", person.way)
        }));
        return found;
    }
    for (document, room) in crowd.rooms().iter().enumerate() {
        let views = crowd.views(document);
        let Some((first_way, first)) = views.first() else {
            continue;
        };
        for (way, view) in &views {
            if view.is_pending {
                found.push(format!("{room} over {way}: parked updates"));
            }
            if view != first {
                let how = compare(first, view);
                found.push(format!("{room}: {first_way} and {way} differ: {how}"));
            }
        }
    }
    found.dedup();
    found.truncate(SHOWN_MAX);
    found
}

/// How two views differ, briefly.
fn compare(left: &View, right: &View) -> String {
    let clocks: HashMap<_, _> = right.vector.iter().copied().collect();
    let mut parts: Vec<_> = left
        .vector
        .iter()
        .filter_map(|(client, clock)| {
            let other = clocks.get(client).copied().unwrap_or(0);
            (other != *clock).then(|| format!("{client}: {clock} and {other}"))
        })
        .take(SHOWN_MAX)
        .collect();
    let known = |client: &u64| left.vector.iter().any(|(other, _)| other == client);
    let unknown = right.vector.iter().filter(|(client, _)| !known(client));
    parts.extend(
        unknown
            .take(SHOWN_MAX)
            .map(|(client, clock)| format!("{client}: 0 and {clock}")),
    );
    if parts.is_empty() {
        let (left, right) = (left.text.len(), right.text.len());
        return format!("only in the text, of {left} and {right} letters");
    }
    parts.join(", ")
}

/// What is not there of what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Losses {
    pub(super) edits: u64,
    pub(super) shown: Vec<String>,
}

/// Looks in the documents that the crowd's people hold for everything that is owed.
pub(super) fn losses(crowd: &Crowd) -> Losses {
    let mut losses = Losses::default();
    let owed: Vec<Owed> = crowd.all_owed().collect();
    for person in crowd.people() {
        let there = There::of(&person.state());
        let mut missing = 0;
        for one in owed.iter().filter(|one| one.document == person.document) {
            let lost = there.missing(one);
            if lost > 0 && losses.shown.len() < SHOWN_MAX {
                let (room, way) = (&crowd.rooms()[one.document], &person.way);
                let client = one.client;
                losses.shown.push(format!(
                    "{room} over {way}: {lost} acknowledged edits of {client} are missing"
                ));
            }
            missing += lost;
        }
        // The same loss shows with everybody.
        losses.edits = losses.edits.max(missing);
    }
    losses
}

/// What a state holds.
#[derive(Debug, Default)]
struct There {
    made: HashMap<u64, Coverage>,
    deleted: HashMap<u64, Vec<(u64, u64)>>,
}

impl There {
    fn of(state: &[u8]) -> Self {
        let mut there = Self::default();
        let made = &mut there.made;
        let structs = for_each_run(state, |run| {
            let coverage = made.entry(run.client).or_default();
            coverage.add(run.start, run.length, |_| ());
        });
        // What cannot be read is not there.
        if let Ok(rest) = structs {
            let deleted = &mut there.deleted;
            let _ = for_each_deletion(rest, |run| {
                let ranges = deleted.entry(run.client).or_default();
                ranges.push((run.start, run.start + run.length));
            });
        }
        there
    }

    fn missing(&self, owed: &Owed) -> u64 {
        let nothing = Coverage::default();
        let made = self.made.get(&owed.client).unwrap_or(&nothing);
        let deletions = owed.deletions.iter().map(|run| self.not_deleted(run));
        made.missing(owed.clock) + deletions.sum::<u64>()
    }

    fn not_deleted(&self, run: &Run) -> u64 {
        let (start, end) = (run.start, run.start + run.length);
        let ranges = self.deleted.get(&run.client);
        let covered: u64 = ranges
            .into_iter()
            .flatten()
            .map(|(from, to)| end.min(*to).saturating_sub(start.max(*from)))
            .sum();
        run.length.saturating_sub(covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(clock: u64, deletions: &[(u64, u64)]) -> Owed {
        let run = |&(start, length): &(u64, u64)| Run {
            client: 1,
            start,
            length,
        };
        Owed {
            document: 0,
            client: 1,
            clock,
            deletions: deletions.iter().map(run).collect(),
        }
    }

    #[test]
    fn what_is_missing_is_counted() {
        // "hi" of client 1, of which the first letter is deleted.
        let state = [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 1, 1, 1, 0, 1];
        let there = There::of(&state);
        assert_eq!(there.missing(&owed(2, &[(0, 1)])), 0);
        assert_eq!(there.missing(&owed(3, &[])), 1);
        assert_eq!(there.missing(&owed(2, &[(0, 2)])), 1);
        assert_eq!(There::default().missing(&owed(2, &[(0, 1)])), 3);
    }
}
