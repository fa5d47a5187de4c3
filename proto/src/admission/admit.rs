//! Admission: takes the part of an update whose every need is met, and says what is missing.

use std::ops::Range;

use bytes::Bytes;

use super::join::JOINABLE_MIN;
use super::legacy::scan_with_values;
use super::order::{Run, Walk};
use super::places::{Mark, Places};
use super::scan::{Scan, scan};
use super::structs::{Id, Struct};
use super::write::{EncodedRun, write};
use super::{DeleteSet, Known, Refusal, StateVector, deletes};
use crate::wire::lib0::Reader;
use crate::{ClientId, Clock};

/// The most clients that a gap may name which a peer is asked for; honest gaps name one or a few.
pub const GAP_CLIENTS_MAX: usize = 4096;

/// Bounds for one update.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of an update.
    pub update_bytes_max: usize,
    /// How deep values and JSON may be nested; yrs reads them by recursion.
    pub nesting_max: usize,
    /// The most clients that a gap may name; [`GAP_CLIENTS_MAX`] where somebody is asked for them.
    pub gap_clients_max: usize,
}

/// What became of an update.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// The new part whose needs are met; `None` when there is nothing new in it.
    pub admitted: Option<Admitted>,
    /// What was dropped because something it needs is missing.
    pub gap: Option<Gap>,
}

/// The admitted part of an update: safe to apply to the replica that it was admitted for.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// A v1 update: the bytes to log, to apply and to relay.
    pub update: Bytes,
    /// How far each client comes by it.
    pub advances: Vec<Advance>,
    /// It may hold subdocuments, which a replica must not see: see
    /// [`hide_subdocuments`](super::hide_subdocuments).
    pub has_subdocuments: bool,
    pub(super) runs: Vec<EncodedRun>,
    pub(super) deletes: DeleteSet,
}

/// A client's clocks that an update brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// The client whose structs they are.
    pub client: ClientId,
    /// The first new clock.
    pub from: Clock,
    /// The clock behind the last new one.
    pub to: Clock,
}

/// What an update needs and neither it nor the replica has. Its sender's step 2 holds it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// For each client whose structs or deletes were dropped: the clock that has to be reached
    /// before they count as admitted.
    pub wants: Vec<(ClientId, Clock)>,
}

/// Admits the largest causally closed part of `update` that is new to `known`, and notes it there.
///
/// `tombstone` is the state vector of the document's deleted epochs. A refusal changes nothing.
///
/// # Errors
/// What no honest peer sends, see [`Refusal`].
pub fn admit(
    update: &Bytes,
    known: &mut Known,
    tombstone: Option<&StateVector>,
    limits: &Limits,
) -> Result<Admission, Refusal> {
    admit_asking(update, known, tombstone, limits, None)
}

/// The same, unless `may_add` refuses a client: it is asked for each one that the update holds new
/// structs of, whether or not their needs are met, with the clock behind the last of them.
///
/// # Errors
/// [`Refusal::NotYours`], after all clients were asked for; otherwise as [`admit`].
pub fn admit_if(
    update: &Bytes,
    known: &mut Known,
    tombstone: Option<&StateVector>,
    limits: &Limits,
    mut may_add: impl FnMut(ClientId, Clock) -> bool,
) -> Result<Admission, Refusal> {
    admit_asking(update, known, tombstone, limits, Some(&mut may_add))
}

fn admit_asking(
    update: &Bytes,
    known: &mut Known,
    tombstone: Option<&StateVector>,
    limits: &Limits,
    may_add: Option<MayAdd<'_>>,
) -> Result<Admission, Refusal> {
    let judged = judge(update, known, tombstone, limits, may_add)?;
    if let Some(admitted) = &judged.admission.admitted {
        for advance in &admitted.advances {
            known.vector.raise_to(advance.client, advance.to);
        }
        known.deleted.merge(&admitted.deletes);
    }
    Ok(judged.admission)
}

/// What [`admit`] would say; `known` is the same afterwards.
///
/// # Errors
/// Those of [`admit`].
pub fn preview(
    update: &Bytes,
    known: &mut Known,
    tombstone: Option<&StateVector>,
    limits: &Limits,
) -> Result<Admission, Refusal> {
    let judged = judge(update, known, tombstone, limits, None)?;
    judged.take_back(known);
    Ok(judged.admission)
}

/// What an update speaks of, whatever a replica has of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Its structs, for each client from the first to behind the last.
    pub structs: Vec<(ClientId, Range<Clock>)>,
    /// Where what it deletes ends.
    pub deletes: StateVector,
}

/// What an update speaks of.
///
/// # Errors
/// What is no update.
pub fn ranges(update: &Bytes, nesting_max: usize) -> Result<Ranges, Refusal> {
    let parts = scan(update, nesting_max)?;
    let sections = parts.sections.iter();
    let structs = sections
        .map(|section| (section.client, section.first_clock..section.end_clock))
        .filter(|(_, range)| !range.is_empty())
        .collect();
    let mut deletes = StateVector::default();
    deletes::read(&mut Reader::at(update, parts.deletes), |client, range| {
        deletes.raise_to(client, range.end);
    })?;
    Ok(Ranges { structs, deletes })
}

/// Whether new structs of a client may be added, up to a clock.
type MayAdd<'a> = &'a mut dyn FnMut(ClientId, Clock) -> bool;

/// An update that was judged; its places are noted and nothing else.
struct Judged {
    admission: Admission,
    before: Mark,
    /// The clients with sections in the update.
    clients: Vec<ClientId>,
}

impl Judged {
    fn take_back(&self, known: &mut Known) {
        let Known { vector, places, .. } = known;
        let held = |client: &ClientId| (*client, vector.get(*client));
        places.rollback(self.before, self.clients.iter().map(held));
    }
}

/// Judges an update; an error changes nothing.
fn judge(
    update: &Bytes,
    known: &mut Known,
    tombstone: Option<&StateVector>,
    limits: &Limits,
    may_add: Option<MayAdd<'_>>,
) -> Result<Judged, Refusal> {
    if update.len() > limits.update_bytes_max {
        return Err(Refusal::TooLarge {
            bytes: update.len(),
            bytes_max: limits.update_bytes_max,
        });
    }
    let (update, parts) = scan_with_values(update, limits.nesting_max)?;
    if let Some(tombstone) = tombstone {
        check_epoch(&update, &parts, tombstone)?;
    }
    if let Some(may_add) = may_add {
        check_clients(&parts, &known.vector, may_add)?;
    }
    let mut judged = Judged {
        admission: Admission::default(),
        before: known.places.mark(),
        clients: parts.sections.iter().map(|it| it.client).collect(),
    };
    match admit_parts(&update, &parts, known, limits) {
        Ok(admission) => judged.admission = admission,
        Err(refusal) => {
            judged.take_back(known);
            return Err(refusal);
        }
    }
    Ok(judged)
}

/// Refuses an update with structs or deletes of a deleted epoch.
fn check_epoch(update: &[u8], parts: &Scan, tombstone: &StateVector) -> Result<(), Refusal> {
    let mut is_old = parts
        .sections
        .iter()
        .any(|section| section.first_clock < tombstone.get(section.client));
    deletes::read(&mut Reader::at(update, parts.deletes), |client, range| {
        is_old |= range.start < tombstone.get(client);
    })?;
    if is_old {
        Err(Refusal::Deleted)
    } else {
        Ok(())
    }
}

/// Asks for every client that new structs are there of. Also of those that lack something they need:
/// they would come again.
fn check_clients(parts: &Scan, vector: &StateVector, may_add: MayAdd<'_>) -> Result<(), Refusal> {
    let mut may_add_all = true;
    for section in &parts.sections {
        let has_structs = section.first_clock < section.end_clock;
        if has_structs && vector.get(section.client) < section.end_clock {
            may_add_all &= may_add(section.client, section.end_clock);
        }
    }
    may_add_all.then_some(()).ok_or(Refusal::NotYours)
}

/// Walks, judges and collects; only `known.places` is changed.
fn admit_parts(
    update: &Bytes,
    parts: &Scan,
    known: &mut Known,
    limits: &Limits,
) -> Result<Admission, Refusal> {
    let Known {
        vector,
        deleted,
        places,
    } = known;
    let held = |client| vector.get(client);
    let mut walk = Walk::new(update, parts, limits.nesting_max, held);
    let overwritten = walk_through(&mut walk, places)?;
    let reached = |client| walk.reached(client);
    let deletes = Deletes::read(update, parts.deletes, deleted, reached)?;
    let is_deleted = |&(client, from, to): &(ClientId, Clock, Clock)| {
        let mut alive = deleted.missing(client, from, to);
        alive.all(|part| deletes.new.contains(client, part))
    };
    if !overwritten.iter().all(is_deleted) {
        return Err(Refusal::LongValue);
    }

    let mut wants = deletes.wants;
    let mut advances = Vec::with_capacity(walk.cursors.len());
    for cursor in &walk.cursors {
        let client = cursor.section.client;
        if cursor.reached < cursor.section.end_clock {
            wants.raise_to(client, cursor.section.end_clock);
        }
        if cursor.reached > cursor.from {
            advances.push(Advance {
                client,
                from: cursor.from,
                to: cursor.reached,
            });
        }
    }
    if wants.len() > limits.gap_clients_max {
        return Err(Refusal::GapTooWide);
    }
    let gap = (!wants.is_empty()).then(|| Gap {
        wants: wants.iter().collect(),
    });
    if advances.is_empty() && deletes.new.is_empty() {
        return Ok(Admission {
            admitted: None,
            gap,
        });
    }
    let runs = walk.cut();
    let (bytes, runs) = if gap.is_none() && deletes.is_whole && is_whole(parts, &runs) {
        (update.clone(), slices(update, &runs))
    } else {
        // Of a key's values only the last one is alive, so they stay apart.
        let may_join = |client, read: &Struct<'_>| {
            let clock = read.clock;
            !places.is_keyed(Id { client, clock })
        };
        write(update, &runs, &deletes.new, may_join)?
    };
    Ok(Admission {
        admitted: Some(Admitted {
            update: bytes,
            advances,
            has_subdocuments: parts.has_subdocuments,
            runs,
            deletes: deletes.new,
        }),
        gap,
    })
}

/// Walks as far as needs are met and notes every place.
///
/// Gives the structs that hold several values of one key: client, first clock, clock behind.
fn walk_through<'a>(
    walk: &mut Walk<'a, impl Fn(ClientId) -> Clock>,
    places: &mut Places,
) -> Result<Vec<(ClientId, Clock, Clock)>, Refusal> {
    let mut overwritten = Vec::new();
    while let Some(step) = walk.next()? {
        if places.put(&step)? {
            overwritten.push((step.client, step.read.clock, step.read.end_clock()));
        }
    }
    Ok(overwritten)
}

/// Whether the runs are all that the sections hold and well joined: the update can stay as it is.
fn is_whole(parts: &Scan, runs: &[(ClientId, Run)]) -> bool {
    !parts.has_skips
        && parts.sections.len() == runs.len()
        && parts.sections.iter().zip(runs).all(|(section, (_, run))| {
            run.count == section.count && run.offset == 0 && run.joinable < JOINABLE_MIN
        })
}

fn slices(update: &Bytes, runs: &[(ClientId, Run)]) -> Vec<EncodedRun> {
    runs.iter()
        .map(|&(client, run)| EncodedRun {
            client,
            clock: run.clock,
            count: run.count,
            bytes: update.slice(run.start as usize..run.end as usize),
        })
        .collect()
}

/// The delete set of an update, sorted by what is to become of it.
struct Deletes {
    /// Deletes of ids that exist and were not deleted.
    new: DeleteSet,
    /// Where ids end that do not exist yet.
    wants: StateVector,
    /// Whether everything is new and written as yrs and Yjs write it.
    is_whole: bool,
}

impl Deletes {
    fn read(
        update: &[u8],
        position: usize,
        deleted: &DeleteSet,
        reached: impl Fn(ClientId) -> Clock,
    ) -> Result<Self, Refusal> {
        let mut read = Self {
            new: DeleteSet::default(),
            wants: StateVector::default(),
            is_whole: true,
        };
        let is_canonical = deletes::read(&mut Reader::at(update, position), |client, range| {
            let existing = reached(client).min(range.end);
            if existing < range.end {
                read.wants.raise_to(client, range.end);
                read.is_whole = false;
            }
            let mut held = existing.saturating_sub(range.start);
            for part in deleted.missing(client, range.start, existing) {
                held -= part.end - part.start;
                read.new.insert(client, part.start, part.end);
            }
            read.is_whole &= held == 0;
        })?;
        read.is_whole &= is_canonical;
        Ok(read)
    }
}
