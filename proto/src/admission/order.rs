//! The causal walk: gives the structs of an update in an order in which each finds what it needs.
//!
//! A cursor stands in each client's section. A struct is given when everything before it of its
//! client, its origin, its right origin and its parent are held or were given. A cursor that lacks
//! something waits for the one cursor that can bring it, so the walk is linear, up to a logarithm.

use std::collections::BTreeSet;

use super::Refusal;
use super::join::Edge;
use super::scan::{Scan, Section};
use super::structs::{Id, Parent, Struct};
use crate::wire::lib0::Reader;
use crate::{ClientId, Clock};

/// How far the walk came in the section of one client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) section: Section,
    /// Structs not looked at yet, the byte where they start and the clock of the first.
    left: u32,
    position: u32,
    clock: Clock,
    /// The first clock that was held when the walk began.
    pub(super) from: Clock,
    /// The first clock that is neither held nor given.
    pub(super) reached: Clock,
    /// The run given since the last [`Walk::cut`].
    pub(super) run: Run,
}

/// Consecutive structs of one client, as they stand in the update.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    /// The number of structs; 0 for no run.
    pub(super) count: u32,
    /// The first clock, with `offset` added.
    pub(super) clock: Clock,
    /// How many clocks of the first struct are held already.
    pub(super) offset: Clock,
    /// Where the first struct starts and ends, and where the last one ends, in bytes.
    pub(super) start: u32,
    pub(super) first_end: u32,
    pub(super) end: u32,
    /// How many of the structs could be joined to the one before.
    pub(super) joinable: u32,
    pub(super) last: Option<Edge>,
}

/// A struct whose needs are met.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) client: ClientId,
    pub(super) read: Struct<'a>,
    /// How many of its first clocks are held already.
    pub(super) offset: Clock,
}

/// A causal walk over an update.
pub(super) struct Walk<'a, H> {
    update: &'a [u8],
    nesting_max: usize,
    held: H,
    pub(super) cursors: Vec<Cursor>,
    /// Cursors that may go on, the next one last.
    ready: Vec<u32>,
    /// Who waits: (for which cursor, until it is beyond which clock, the waiting cursor).
    waiting: BTreeSet<(u32, Clock, u32)>,
}

impl<'a, H: Fn(ClientId) -> Clock> Walk<'a, H> {
    /// A walk over `update`, which `scan` is the scan of; `held` is the state vector to start from.
    pub(super) fn new(update: &'a [u8], scan: &Scan, nesting_max: usize, held: H) -> Self {
        let cursors: Vec<_> = scan
            .sections
            .iter()
            .map(|&section| {
                let from = held(section.client);
                Cursor {
                    section,
                    left: section.count,
                    position: section.start,
                    clock: section.clock,
                    from,
                    reached: from,
                    run: Run::default(),
                }
            })
            .collect();
        // The first section comes first: for one client nothing is ever reordered.
        let ready = (0..cursors.len() as u32).rev().collect();
        Self {
            update,
            nesting_max,
            held,
            cursors,
            ready,
            waiting: BTreeSet::new(),
        }
    }

    /// The next struct whose needs are met, or `None` when there is no more.
    pub(super) fn next(&mut self) -> Result<Option<Step<'a>>, Refusal> {
        while let Some(&index) = self.ready.last() {
            match self.advance(index as usize)? {
                Some(step) => return Ok(Some(step)),
                None => {
                    self.ready.pop();
                    self.wake(index);
                }
            }
        }
        Ok(None)
    }

    /// Whether every struct of every section is held now.
    pub(super) fn is_complete(&self) -> bool {
        self.cursors
            .iter()
            .all(|cursor| cursor.reached >= cursor.section.end_clock)
    }

    /// The first clock of `client` that is neither held nor given.
    pub(super) fn reached(&self, client: ClientId) -> Clock {
        match self.find(client) {
            Some(index) => self.cursors[index].reached,
            None => (self.held)(client),
        }
    }

    /// Takes the runs given since the last cut, by descending client.
    pub(super) fn cut(&mut self) -> Vec<(ClientId, Run)> {
        self.cursors
            .iter_mut()
            .filter(|cursor| cursor.run.count > 0)
            .map(|cursor| (cursor.section.client, std::mem::take(&mut cursor.run)))
            .collect()
    }

    fn find(&self, client: ClientId) -> Option<usize> {
        self.cursors
            .binary_search_by(|cursor| client.cmp(&cursor.section.client))
            .ok()
    }

    /// Gives the cursor's next new struct; `None` when it is at its end or lacks something.
    fn advance(&mut self, index: usize) -> Result<Option<Step<'a>>, Refusal> {
        loop {
            let cursor = self.cursors[index];
            if cursor.left == 0 {
                return Ok(None);
            }
            let mut reader = Reader::at(self.update, cursor.position as usize);
            let read = Struct::read(&mut reader, cursor.clock, self.nesting_max)?;
            let is_new = !read.is_skip() && read.end_clock() > cursor.reached;
            if is_new {
                if read.clock > cursor.reached {
                    // A hole: whatever is behind it waits until the hole is filled.
                    return Ok(None);
                }
                if let Some(lacking) = self.lacking(index, &read)? {
                    self.wait_for(lacking, index);
                    return Ok(None);
                }
            }
            let cursor = &mut self.cursors[index];
            cursor.left -= 1;
            cursor.position = read.end as u32;
            cursor.clock = read.end_clock();
            if is_new {
                let offset = cursor.reached - read.clock;
                cursor.reached = read.end_clock();
                cursor.run.extend(cursor.section.client, &read, offset);
                return Ok(Some(Step {
                    client: cursor.section.client,
                    read,
                    offset,
                }));
            }
        }
    }

    /// The first id that the struct needs and that is neither held nor given.
    fn lacking(&self, index: usize, read: &Struct<'_>) -> Result<Option<Id>, Refusal> {
        let cursor = &self.cursors[index];
        // The tail of a struct hangs on its own first part, which is held.
        let is_tail = cursor.reached > read.clock;
        let parent = match read.parent {
            Parent::Nested(id) => Some(id),
            Parent::Inherited | Parent::Root(_) => None,
        };
        let (origin, parent) = if is_tail {
            (None, None)
        } else {
            (read.origin, parent)
        };
        for id in [origin, read.right_origin, parent].into_iter().flatten() {
            if id.client == cursor.section.client {
                if id.clock >= read.clock {
                    return Err(Refusal::OwnFuture);
                }
            } else if id.clock >= self.reached(id.client) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Lets the cursor wait for `lacking`, if there is a section that could bring it.
    fn wait_for(&mut self, lacking: Id, waiter: usize) {
        if let Some(bringer) = self.find(lacking.client)
            && lacking.clock < self.cursors[bringer].section.end_clock
        {
            self.waiting
                .insert((bringer as u32, lacking.clock, waiter as u32));
        }
    }

    /// Lets go on who waited for clocks that cursor `index` has reached.
    fn wake(&mut self, index: u32) {
        let reached = self.cursors[index as usize].reached;
        while let Some(&entry) = self
            .waiting
            .range((index, 0, 0)..(index, reached, 0))
            .next()
        {
            self.waiting.remove(&entry);
            self.ready.push(entry.2);
        }
    }
}

impl Run {
    fn extend(&mut self, client: ClientId, read: &Struct<'_>, offset: Clock) {
        if self.count == 0 {
            self.clock = read.clock + offset;
            self.offset = offset;
            self.start = read.start as u32;
            self.first_end = read.end as u32;
        }
        if self
            .last
            .is_some_and(|last| last.is_joined_by(client, read))
        {
            self.joinable += 1;
        }
        self.last = Some(Edge::of(read));
        self.count += 1;
        self.end = read.end as u32;
    }
}
