//! Writes v1 updates from runs of structs and a delete set.

use bytes::Bytes;

use super::join::{JOINABLE_MIN, Joiner};
use super::order::Run;
use super::scan::Scan;
use super::structs::Struct;
use super::{DeleteSet, Refusal};
use crate::wire::lib0::{Reader, put_var_uint};
use crate::{ClientId, Clock};

/// Room for the header of a client's section.
const HEADER_BYTES: usize = 20;

/// Consecutive encoded structs of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EncodedRun {
    pub(super) client: ClientId,
    pub(super) clock: Clock,
    pub(super) count: u32,
    pub(super) bytes: Bytes,
}

/// Writes an update of `runs` of `source`, one a client in descending order, and `deletes`.
///
/// Runs with many neighbours that `may_join` are written joined. Also gives the runs as slices of
/// what was written.
pub(super) fn write<'a>(
    source: &'a [u8],
    runs: &[(ClientId, Run)],
    deletes: &DeleteSet,
    may_join: impl Fn(ClientId, &Struct<'a>) -> bool,
) -> Result<(Bytes, Vec<EncodedRun>), Refusal> {
    let bytes: usize = runs.iter().map(|(_, run)| run_len(run)).sum();
    let mut out = Vec::with_capacity(bytes + runs.len() * HEADER_BYTES + HEADER_BYTES);
    put_var_uint(&mut out, runs.len() as u64);
    let mut places = Vec::with_capacity(runs.len());
    for (client, run) in runs {
        let joined = match run.joinable >= JOINABLE_MIN {
            true => Some(joined_run(source, *client, run, |read| {
                may_join(*client, read)
            })?),
            false => None,
        };
        let count = joined.as_ref().map_or(run.count, |joined| joined.count);
        put_header(&mut out, u64::from(count), *client, run.clock);
        let start = out.len();
        match joined {
            Some(joined) => out.extend_from_slice(&joined.bytes),
            None => put_run(source, *client, run, &mut out)?,
        }
        places.push((count, start..out.len()));
    }
    deletes.encode(&mut out);
    let written = Bytes::from(out);
    let encoded = runs
        .iter()
        .zip(places)
        .map(|(&(client, run), (count, range))| EncodedRun {
            client,
            clock: run.clock,
            count,
            bytes: written.slice(range),
        })
        .collect();
    Ok((written, encoded))
}

fn joined_run<'a>(
    source: &'a [u8],
    client: ClientId,
    run: &Run,
    may_join: impl Fn(&Struct<'a>) -> bool,
) -> Result<EncodedRun, Refusal> {
    let mut joiner = Joiner::new(client, run_len(run), may_join);
    let (mut start, mut clock) = (run.start as usize, run.clock);
    if run.offset > 0 {
        let mut reader = Reader::at(source, start);
        let first = Struct::read(&mut reader, run.clock - run.offset, usize::MAX)?;
        joiner.push_written(|out| first.write_tail(source, client, run.offset, out))?;
        (start, clock) = (first.end, first.end_clock());
    }
    joiner.push(source, start, run.end as usize, clock)?;
    joiner.finish(run.clock)
}

/// The same update with some structs written anew; `parts` is the scan of `update`.
///
/// `put` writes a struct and says so, or leaves it to be copied.
pub(super) fn rewrite<'a>(
    update: &'a Bytes,
    parts: &Scan,
    put: impl Fn(&Struct<'a>, &mut Vec<u8>) -> Result<bool, Refusal>,
) -> Result<Bytes, Refusal> {
    let mut out = Vec::with_capacity(update.len() + update.len() / 8);
    put_var_uint(&mut out, parts.sections.len() as u64);
    for section in &parts.sections {
        let count = u64::from(section.count);
        put_header(&mut out, count, section.client, section.clock);
        let mut reader = Reader::at(update, section.start as usize);
        let mut clock = section.clock;
        for _ in 0..section.count {
            let read = Struct::read(&mut reader, clock, usize::MAX)?;
            clock = read.end_clock();
            if !put(&read, &mut out)? {
                read.write_tail(update, section.client, 0, &mut out)?;
            }
        }
    }
    out.extend_from_slice(update.get(parts.deletes..).unwrap_or_default());
    Ok(out.into())
}

/// Writes what stands before the structs of a client.
pub(super) fn put_header(out: &mut Vec<u8>, count: u64, client: ClientId, clock: Clock) {
    put_var_uint(out, count);
    put_var_uint(out, client);
    put_var_uint(out, u64::from(clock));
}

fn run_len(run: &Run) -> usize {
    (run.end - run.start) as usize
}

fn put_run(source: &[u8], client: ClientId, run: &Run, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut reader = Reader::at(source, run.start as usize);
    let mut rest = run.start;
    if run.offset > 0 {
        let first = Struct::read(&mut reader, run.clock - run.offset, usize::MAX)?;
        first.write_tail(source, client, run.offset, out)?;
        rest = run.first_end;
    }
    out.extend_from_slice(reader.between(rest as usize, run.end as usize));
    Ok(())
}
