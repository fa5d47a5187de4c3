//! What has to hold: at every crash, and after everything was healed.

use std::collections::BTreeSet;

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{Transact, Update};

use super::client::{Client, Mode, new_doc};
use super::edits::view;
use super::scenario::Fault;
use super::violation::Violation;
use super::world::World;
use crate::admission::{DeleteSet, Known, StateVector, known_of};
use crate::engine::{Relay, Replica};

impl World {
    /// Everything acknowledged is in the store, and, with `relay = durable`, everything seen.
    pub(super) fn check_store(&mut self) -> Result<(), Violation> {
        let mut replica = Replica::load(self.plan.options.clone(), &self.store.stored())?;
        let state = replica.encode_state().ok_or(Violation::Poisoned)?;
        let stored = known(&state, "the store")?;
        for client in &self.clients {
            check_acknowledged(client, &stored)?;
        }
        if self.plan.options.relay == Relay::Durable {
            check_seen(&self.seen.vector, &self.seen.deletes, &stored)?;
        }
        self.count("store checks");
        Ok(())
    }

    /// Everyone has the same document and sees the same people.
    pub(super) fn check_end(&mut self) -> Result<(), Violation> {
        self.check_store()?;
        let options = self.plan.options.clone();
        let mut loaded = Replica::load(options, &self.store.stored())?;
        let stored = Known::describe("the store", loaded.encode_state())?;
        let live: Vec<usize> = self.live().into();
        if let Some(replica) = &mut self.node.replica {
            let replica = Known::describe("the replica", replica.encode_state())?;
            stored.equals(&replica)?;
        } else if !live.is_empty() {
            return Err(Violation::Restless);
        }
        self.check_epoch(&stored.known.vector)?;
        let denied = self.clients.iter().any(|client| client.record.denied);
        for client in live.iter().map(|name| &self.clients[*name]) {
            // What a denied or deleted tab took with it may be all that its siblings wait for.
            let is_forsaken = denied || self.has_deleted_sibling(client);
            if client.has_pending() && !is_forsaken {
                return Err(Violation::Pending {
                    client: client.name,
                });
            }
            let name = format!("client {}", client.name);
            let held = Known::describe(&name, Some(client.state()))?;
            if denied {
                held.covers(&stored)?;
            } else {
                stored.equals(&held)?;
            }
            if !is_forsaken {
                check_answered(client)?;
            }
        }
        self.check_presence(&live)
    }

    /// Whether a tab of the same browser held the document's deleted past.
    fn has_deleted_sibling(&self, client: &Client) -> bool {
        let is_sibling = |other: &&Client| other.group.is_some() && other.group == client.group;
        let mut siblings = self.clients.iter().filter(is_sibling);
        siblings.any(|sibling| sibling.record.deleted)
    }

    /// Nothing of a deleted epoch came back.
    fn check_epoch(&self, vector: &StateVector) -> Result<(), Violation> {
        if !self.plan.has(Fault::Delete) {
            return Ok(());
        }
        let tombstone = self.store.tombstone().cloned().unwrap_or_default();
        match tombstone
            .iter()
            .find(|(client, clock)| *clock > 0 && vector.get(*client) > 0)
        {
            Some((client, _)) => Err(Violation::Resurrected {
                client,
                clock: vector.get(client),
            }),
            None => Ok(()),
        }
    }

    fn check_presence(&self, live: &[usize]) -> Result<(), Violation> {
        let here: BTreeSet<u64> = live.iter().map(|name| self.clients[*name].own).collect();
        for client in live.iter().map(|name| &self.clients[*name]) {
            let shown: BTreeSet<u64> = client.awareness.live().collect();
            if shown != here {
                return Err(Violation::Presence {
                    client: client.name,
                    shown: shown.into_iter().collect(),
                    live: here.into_iter().collect(),
                });
            }
        }
        Ok(())
    }
}

fn check_acknowledged(client: &Client, stored: &Known) -> Result<(), Violation> {
    let Some((clock, deletes)) = client.acknowledged() else {
        return Ok(());
    };
    let reached = stored.vector.get(client.own);
    let lacks = if reached < clock {
        format!("its edits from {reached} to {clock}")
    } else if !stored.deleted.covers(&deletes) {
        format!("some of its deletes {deletes:?}")
    } else {
        return Ok(());
    };
    Err(Violation::AcknowledgedLost {
        client: client.name,
        lacks,
    })
}

fn check_seen(vector: &StateVector, deletes: &DeleteSet, stored: &Known) -> Result<(), Violation> {
    let lacks = if !stored.vector.covers(vector) {
        format!("{:?} of {vector:?}", stored.vector)
    } else if !stored.deleted.covers(deletes) {
        "deletes".to_owned()
    } else {
        return Ok(());
    };
    Err(Violation::SeenLost { lacks })
}

/// A client that was never denied has an answer to its last question.
fn check_answered(client: &Client) -> Result<(), Violation> {
    let newest = client.record.probes.last().map_or(0, |probe| probe.counter);
    let acked = client.record.acked.map(|probe| probe.counter);
    if client.mode == Mode::Gone || acked == Some(newest) {
        return Ok(());
    }
    Err(Violation::NeverAcknowledged {
        client: client.name,
        probe: newest,
        acked,
    })
}

/// A replica, as far as it is compared.
struct Described {
    name: String,
    known: Known,
    view: String,
}

impl Known {
    fn describe(name: &str, state: Option<Bytes>) -> Result<Described, Violation> {
        let state = state.ok_or(Violation::Poisoned)?;
        let doc = new_doc(0);
        let unreadable = |_| differs(name, name, "that it cannot be read");
        let update = Update::decode_v1(&state).map_err(unreadable)?;
        let applied = doc.transact_mut().apply_update(update);
        applied.map_err(|_| differs(name, name, "that it cannot be applied"))?;
        Ok(Described {
            name: name.to_owned(),
            known: known(&state, name)?,
            view: view(&doc),
        })
    }
}

impl Described {
    fn equals(&self, other: &Self) -> Result<(), Violation> {
        let what = if self.known.vector != other.known.vector {
            let (left, right) = (&self.known.vector, &other.known.vector);
            format!("their structs: {left:?} and {right:?}")
        } else if self.known.deleted != other.known.deleted {
            let (left, right) = (&self.known.deleted, &other.known.deleted);
            format!("their deletes: {left:?} and {right:?}")
        } else if self.view != other.view {
            format!("what they show: {} and {}", self.view, other.view)
        } else {
            return Ok(());
        };
        Err(differs(&self.name, &other.name, &what))
    }

    fn covers(&self, other: &Self) -> Result<(), Violation> {
        let covers = self.known.vector.covers(&other.known.vector)
            && self.known.deleted.covers(&other.known.deleted);
        if covers {
            return Ok(());
        }
        Err(differs(&self.name, &other.name, "what the first one lacks"))
    }
}

fn known(state: &Bytes, name: &str) -> Result<Known, Violation> {
    known_of(state).map_err(|refusal| differs(name, name, &format!("a refused state: {refusal}")))
}

fn differs(left: &str, right: &str, what: &str) -> Violation {
    Violation::Diverged {
        left: left.to_owned(),
        right: right.to_owned(),
        what: what.to_owned(),
    }
}
