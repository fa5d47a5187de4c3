//! Parts of a trusted full state: what a peer lacks, and pieces for a slow line.

use bytes::Bytes;

use super::order::{Run, Walk};
use super::scan::{Section, scan};
use super::structs::Struct;
use super::write::write;
use super::{DeleteSet, Refusal, StateVector, deletes};
use crate::Clock;
use crate::wire::lib0::Reader;

/// The structs of `state` beyond `vector` and all its deletes, as a v1 update.
///
/// # Errors
/// [`Refusal::Incomplete`] when the state has holes; otherwise as [`super::admit`] on a malformed one.
pub fn difference(state: &Bytes, vector: &StateVector) -> Result<Bytes, Refusal> {
    let parts = scan(state, usize::MAX)?;
    if parts.has_skips {
        return Err(Refusal::Incomplete);
    }
    if vector.is_empty() {
        return Ok(state.clone());
    }
    let mut runs = Vec::new();
    for section in &parts.sections {
        if let Some(run) = run_beyond(state, section, vector.get(section.client))? {
            runs.push((section.client, run));
        }
    }
    let deletes = deletes_of(state, parts.deletes)?;
    Ok(write(state, &runs, &deletes, |_, read| read.is_text())?.0)
}

/// Splits `state` beyond `base` into updates of about `chunk_bytes`, to be applied in this order.
///
/// Each is causally closed over `base` and the ones before it, so none leaves anything pending. A
/// single struct is never split, so one may be larger. The deletes come with the last one. No
/// updates are given when there is neither a struct beyond `base` nor a delete.
///
/// # Errors
/// [`Refusal::Incomplete`] when the state has holes above `base`; otherwise as [`super::admit`].
pub fn chunks(
    state: &Bytes,
    base: &StateVector,
    chunk_bytes: usize,
) -> Result<Vec<Bytes>, Refusal> {
    let parts = scan(state, usize::MAX)?;
    let none = DeleteSet::default();
    let mut walk = Walk::new(state, &parts, usize::MAX, |client| base.get(client));
    let mut chunks = Vec::new();
    let mut bytes = 0;
    while let Some(step) = walk.next()? {
        let step_bytes = step.read.end - step.read.start;
        bytes += step_bytes;
        if bytes >= chunk_bytes {
            chunks.push(walk.cut());
            bytes = 0;
        }
    }
    if !walk.is_complete() {
        return Err(Refusal::Incomplete);
    }
    let deletes = deletes_of(state, parts.deletes)?;
    let last = walk.cut();
    if !last.is_empty() || (chunks.is_empty() && !deletes.is_empty()) {
        chunks.push(last);
    }
    let count = chunks.len();
    chunks
        .iter()
        .enumerate()
        .map(|(index, runs)| {
            let deletes = if index + 1 == count { &deletes } else { &none };
            write(state, runs, deletes, |_, read| read.is_text()).map(|(update, _)| update)
        })
        .collect()
}

fn deletes_of(state: &[u8], position: usize) -> Result<DeleteSet, Refusal> {
    let mut read = DeleteSet::default();
    deletes::read(&mut Reader::at(state, position), |client, range| {
        read.insert(client, range.start, range.end);
    })?;
    Ok(read)
}

/// The structs of a section from clock `from` on; `None` when there are none.
fn run_beyond(state: &[u8], section: &Section, from: Clock) -> Result<Option<Run>, Refusal> {
    if section.end_clock <= from {
        return Ok(None);
    }
    let mut reader = Reader::at(state, section.start as usize);
    let mut clock = section.clock;
    for passed in 0..section.count {
        let read = Struct::read(&mut reader, clock, usize::MAX)?;
        clock = read.end_clock();
        if clock > from {
            let offset = from.saturating_sub(read.clock);
            return Ok(Some(Run {
                count: section.count - passed,
                clock: read.clock + offset,
                offset,
                start: read.start as u32,
                first_end: read.end as u32,
                end: section.end,
                ..Run::default()
            }));
        }
    }
    Ok(None)
}
