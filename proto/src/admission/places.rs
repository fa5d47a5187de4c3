//! Where items live: enough about every id to judge the items that refer to it.
//!
//! A [`Place`] is a parent (a root type or a nested one) and whether it is a list or a key's values.
//! Neighbouring ids mostly share one, so a client's places are a short list of where they change.
//! It keeps three things out that yrs does not survive or that let replicas drift: parents that are
//! no types (the update would be applied by half), neighbours in different parents (lists tied
//! into each other), and types nested so deep that deleting them overflows the stack.

use std::collections::BTreeMap;

use super::Refusal;
use super::order::Step;
use super::structs::{Id, Parent};
use crate::{ClientId, Clock};

/// The deepest nesting of shared types. yrs deletes and reads nested types by recursion.
pub(super) const TYPE_NESTING_MAX: u16 = 256;

/// The parent of items whose parent is not told any more.
const GONE: u32 = 0;

/// The places of all ids of a replica.
#[derive(Debug, Clone)]
pub(super) struct Places {
    clients: BTreeMap<ClientId, ClientPlaces>,
    /// How deep each parent is nested, by the index that places name it with.
    depths: Vec<u16>,
    roots: BTreeMap<Box<str>, u32>,
}

#[derive(Debug, Clone, Default)]
struct ClientPlaces {
    /// First clocks and the place from there on, ascending.
    runs: Vec<(Clock, Place)>,
    /// The ids that are types, and the index they have as a parent, ascending.
    types: Vec<(Clock, u32)>,
}

/// A parent's index, whether it is a key's value there, and whether the content is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    parent: u32,
    keyed: bool,
    deleted: bool,
}

/// What [`Places::rollback`] needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    depths: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
            depths: vec![0],
            roots: BTreeMap::new(),
        }
    }
}

impl Places {
    /// Notes where the struct lives, or refuses it.
    ///
    /// Says whether it holds several values of one key, of which all must have been deleted.
    pub(super) fn put(&mut self, step: &Step<'_>) -> Result<bool, Refusal> {
        let read = &step.read;
        let mut place = self.place_of(step)?;
        place.deleted = read.is_deleted();
        let index = match read.is_type() {
            true => Some(self.add_type(place)?),
            false => None,
        };
        let places = self.clients.entry(step.client).or_default();
        if places.runs.last().is_none_or(|&(_, last)| last != place) {
            places.runs.push((read.clock + step.offset, place));
        }
        if let Some(index) = index {
            places.types.push((read.clock, index));
        }
        Ok(place.keyed && read.length > 1 && !place.deleted)
    }

    /// Whether an id is the value of a key.
    pub(super) fn is_keyed(&self, id: Id) -> bool {
        self.find(id).keyed
    }

    /// The state to go back to if a later struct of the same update is refused.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            depths: self.depths.len(),
        }
    }

    /// Forgets what was put since `mark`: for each client everything from the given clock on.
    pub(super) fn rollback(
        &mut self,
        mark: Mark,
        clients: impl Iterator<Item = (ClientId, Clock)>,
    ) {
        if self.depths.len() > mark.depths {
            self.depths.truncate(mark.depths);
            self.roots
                .retain(|_, index| (*index as usize) < mark.depths);
        }
        for (client, from) in clients {
            if let Some(places) = self.clients.get_mut(&client) {
                let keep = places.runs.partition_point(|&(clock, _)| clock < from);
                places.runs.truncate(keep);
                let keep = places.types.partition_point(|&(clock, _)| clock < from);
                places.types.truncate(keep);
                if places.runs.is_empty() {
                    self.clients.remove(&client);
                }
            }
        }
    }

    fn place_of(&mut self, step: &Step<'_>) -> Result<Place, Refusal> {
        let read = &step.read;
        // What is left of a trimmed struct hangs on its own first part.
        let origin = match step.offset {
            0 => read.origin,
            // One GC may cover what had several parents: its tail tells nothing of its place.
            _ if read.kind == super::content::GC => None,
            offset => Some(Id {
                client: step.client,
                clock: read.clock + offset - 1,
            }),
        };
        if origin.is_some() || read.right_origin.is_some() {
            let left = origin.map(|id| self.find(id));
            let right = read.right_origin.map(|id| self.find(id));
            return between(left, right);
        }
        let parent = match read.parent {
            // A struct without neighbours and parent is a GC.
            Parent::Inherited => GONE,
            Parent::Root(name) => self.root(name),
            Parent::Nested(id) => self.nested(id)?,
        };
        Ok(Place {
            parent,
            keyed: parent != GONE && read.has_key(),
            deleted: false,
        })
    }

    fn find(&self, id: Id) -> Place {
        let gone = Place {
            parent: GONE,
            keyed: false,
            deleted: true,
        };
        let Some(places) = self.clients.get(&id.client) else {
            return gone;
        };
        let behind = places.runs.partition_point(|&(clock, _)| clock <= id.clock);
        match behind.checked_sub(1) {
            Some(at) => places.runs[at].1,
            None => gone,
        }
    }

    fn root(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.roots.get(name) {
            return index;
        }
        let index = self.depths.len() as u32;
        self.depths.push(0);
        self.roots.insert(name.into(), index);
        index
    }

    fn nested(&self, id: Id) -> Result<u32, Refusal> {
        if let Some(places) = self.clients.get(&id.client)
            && let Ok(at) = places
                .types
                .binary_search_by_key(&id.clock, |&(clock, _)| clock)
        {
            return Ok(places.types[at].1);
        }
        // Perhaps it was a type before its content was collected.
        match self.find(id).deleted {
            true => Ok(GONE),
            false => Err(Refusal::ParentNotAType),
        }
    }

    fn add_type(&mut self, place: Place) -> Result<u32, Refusal> {
        let depth = self.depths[place.parent as usize] + 1;
        if depth > TYPE_NESTING_MAX {
            return Err(Refusal::NestedTooDeep);
        }
        self.depths.push(depth);
        Ok(self.depths.len() as u32 - 1)
    }
}

/// The place between two neighbours; one that is gone tells nothing.
///
/// A key's values only ever follow each other: none is put in before another one.
fn between(left: Option<Place>, right: Option<Place>) -> Result<Place, Refusal> {
    let known = |place: &Place| place.parent != GONE;
    match (left.filter(known), right.filter(known)) {
        (_, Some(right)) if right.keyed => Err(Refusal::TornNeighbours),
        (Some(left), Some(right)) if (left.parent, left.keyed) != (right.parent, right.keyed) => {
            Err(Refusal::TornNeighbours)
        }
        (Some(place), _) | (None, Some(place)) => Ok(place),
        (None, None) => Ok(Place {
            parent: GONE,
            keyed: false,
            deleted: false,
        }),
    }
}
