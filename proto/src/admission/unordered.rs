//! Merges updates of any order into one, by bytes and before anything of them is admitted.
//!
//! The causal walk of admission goes through one update in near-linear time, however its clients
//! depend on each other: so updates that were written down in a bad order are best admitted as one.
//! Source of the rules on overlaps and holes: Yjs `mergeUpdates` in `utils/updates.js`.

use std::cmp::Reverse;

use bytes::Bytes;

use super::content::SKIP;
use super::legacy::scan_with_values;
use super::scan::{Scan, Section};
use super::structs::Struct;
use super::write::put_header;
use super::{DeleteSet, Refusal, deletes};
use crate::wire::lib0::{Reader, put_var_uint};
use crate::{ClientId, Clock};

/// Structs of one client that follow each other in an update, with no Skip between them.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    client: ClientId,
    clock: Clock,
    end_clock: Clock,
    /// The number of structs.
    count: u32,
    /// Which update they are in, and where there, in bytes.
    update: usize,
    start: u32,
    end: u32,
}

/// One v1 update with all that `updates` bring, in whatever order they come: each client once, its
/// structs by clock, and Skips for clocks that none of them has.
///
/// Of clocks that several updates hold, those of the struct that starts first count; of structs that
/// start together, that of the first update.
///
/// Takes time linear in the bytes, up to a logarithm, and memory in proportion to them.
///
/// # Errors
/// Those of an update that is malformed, as [`super::admit`] gives them.
pub fn merge_unordered(updates: &[Bytes], nesting_max: usize) -> Result<Bytes, Refusal> {
    let mut sources = Vec::with_capacity(updates.len());
    let mut stretches = Vec::new();
    let mut deleted = DeleteSet::default();
    for update in updates {
        let (source, parts) = scan_with_values(update, nesting_max)?;
        push_stretches(&source, &parts, sources.len(), &mut stretches)?;
        deletes::read(&mut Reader::at(&source, parts.deletes), |client, range| {
            deleted.insert(client, range.start, range.end);
        })?;
        sources.push(source);
    }
    // A stable sort: what starts together stays in the order of the updates.
    stretches.sort_by_key(|stretch| (Reverse(stretch.client), stretch.clock));
    let clients = || stretches.chunk_by(|left, right| left.client == right.client);
    let mut out = Vec::with_capacity(sources.iter().map(Bytes::len).sum());
    put_var_uint(&mut out, clients().count() as u64);
    let mut structs = Vec::new();
    for stretches in clients() {
        put_client(stretches, &sources, &mut structs, &mut out)?;
    }
    deleted.encode(&mut out);
    Ok(out.into())
}

fn push_stretches(
    source: &Bytes,
    parts: &Scan,
    update: usize,
    into: &mut Vec<Stretch>,
) -> Result<(), Refusal> {
    for section in parts.sections.iter().filter(|section| section.count > 0) {
        if parts.has_skips {
            push_between_skips(source, section, update, into)?;
            continue;
        }
        into.push(Stretch {
            client: section.client,
            clock: section.clock,
            end_clock: section.end_clock,
            count: section.count,
            update,
            start: section.start,
            end: section.end,
        });
    }
    Ok(())
}

fn push_between_skips(
    source: &Bytes,
    section: &Section,
    update: usize,
    into: &mut Vec<Stretch>,
) -> Result<(), Refusal> {
    let mut reader = Reader::at(source, section.start as usize);
    let mut clock = section.clock;
    let mut open: Option<Stretch> = None;
    for _ in 0..section.count {
        let read = Struct::read(&mut reader, clock, usize::MAX)?;
        clock = read.end_clock();
        if read.is_skip() {
            into.extend(open.take());
            continue;
        }
        let stretch = open.get_or_insert(Stretch {
            client: section.client,
            clock: read.clock,
            end_clock: read.clock,
            count: 0,
            update,
            start: read.start as u32,
            end: read.start as u32,
        });
        stretch.count += 1;
        stretch.end_clock = read.end_clock();
        stretch.end = read.end as u32;
    }
    into.extend(open);
    Ok(())
}

/// Writes the section of one client; `structs` is scratch.
fn put_client(
    stretches: &[Stretch],
    sources: &[Bytes],
    structs: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Some(first) = stretches.first() else {
        return Ok(());
    };
    structs.clear();
    let (mut count, mut at) = (0, first.clock);
    for stretch in stretches {
        if stretch.end_clock <= at {
            continue;
        }
        if let Some(hole) = stretch.clock.checked_sub(at).filter(|&hole| hole > 0) {
            structs.push(SKIP);
            put_var_uint(structs, u64::from(hole));
            count += 1;
        }
        count += stretch.put_from(at, &sources[stretch.update], structs)?;
        at = stretch.end_clock;
    }
    put_header(out, count, first.client, first.clock);
    out.extend_from_slice(structs);
    Ok(())
}

impl Stretch {
    /// Writes the structs from clock `at` on; how many that are.
    fn put_from(&self, at: Clock, source: &[u8], out: &mut Vec<u8>) -> Result<u64, Refusal> {
        let mut reader = Reader::at(source, self.start as usize);
        let (mut clock, mut count) = (self.clock, u64::from(self.count));
        while clock < at {
            let read = Struct::read(&mut reader, clock, usize::MAX)?;
            clock = read.end_clock();
            match clock > at {
                true => read.write_tail(source, self.client, at - read.clock, out)?,
                false => count -= 1,
            }
        }
        out.extend_from_slice(reader.between(reader.position(), self.end as usize));
        Ok(count)
    }
}
