//! Writes v1 updates from runs of structs and a delete set.

use bytes::Bytes;

use super::order::Run;
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
/// Also gives the runs as slices of what was written.
pub(super) fn write(
    source: &[u8],
    runs: &[(ClientId, Run)],
    deletes: &DeleteSet,
) -> Result<(Bytes, Vec<EncodedRun>), Refusal> {
    let bytes: usize = runs.iter().map(|(_, run)| run_len(run)).sum();
    let mut out = Vec::with_capacity(bytes + runs.len() * HEADER_BYTES + HEADER_BYTES);
    put_var_uint(&mut out, runs.len() as u64);
    let mut ranges = Vec::with_capacity(runs.len());
    for (client, run) in runs {
        put_header(&mut out, u64::from(run.count), *client, run.clock);
        let start = out.len();
        put_run(source, *client, run, &mut out)?;
        ranges.push(start..out.len());
    }
    deletes.encode(&mut out);
    let written = Bytes::from(out);
    let encoded = runs
        .iter()
        .zip(ranges)
        .map(|(&(client, run), range)| EncodedRun {
            client,
            clock: run.clock,
            count: run.count,
            bytes: written.slice(range),
        })
        .collect();
    Ok((written, encoded))
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
