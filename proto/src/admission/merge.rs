//! Merges admitted updates into one, by bytes and in linear time.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::DeleteSet;
use super::admit::Admitted;
use super::join::Joiner;
use super::structs::Struct;
use super::write::{EncodedRun, put_header};
use crate::ClientId;
use crate::wire::lib0::put_var_uint;

/// One v1 update with all that `parts` bring, each client once.
///
/// The parts have to be in the order in which they were admitted to one replica, with none left out
/// between them that has structs of the same client: so the runs of each client join up.
pub fn merge(parts: &[Admitted]) -> Bytes {
    if let [part] = parts {
        return part.update.clone();
    }
    let mut clients: BTreeMap<ClientId, Vec<&EncodedRun>> = BTreeMap::new();
    let mut deletes = DeleteSet::default();
    for part in parts {
        for run in &part.runs {
            clients.entry(run.client).or_default().push(run);
        }
        deletes.merge(&part.deletes);
    }
    let bytes: usize = parts.iter().map(|part| part.update.len()).sum();
    let mut out = Vec::with_capacity(bytes);
    put_var_uint(&mut out, clients.len() as u64);
    for (&client, runs) in clients.iter().rev() {
        put_client(client, runs, &mut out);
    }
    deletes.encode(&mut out);
    out.into()
}

fn put_client(client: ClientId, runs: &[&EncodedRun], out: &mut Vec<u8>) {
    let clock = runs.first().map_or(0, |run| run.clock);
    if let Some(joined) = joined(client, runs) {
        put_header(out, u64::from(joined.count), client, clock);
        return out.extend_from_slice(&joined.bytes);
    }
    let count = runs.iter().map(|run| u64::from(run.count)).sum();
    put_header(out, count, client, clock);
    for run in runs {
        out.extend_from_slice(&run.bytes);
    }
}

/// The runs with what was typed in one go joined; `None` where there is only one run.
///
/// Only text is joined: whether other values belong to a key, and so stay apart, is not known here.
fn joined(client: ClientId, runs: &[&EncodedRun]) -> Option<EncodedRun> {
    let clock = runs.first().filter(|_| runs.len() > 1)?.clock;
    let capacity = runs.iter().map(|run| run.bytes.len()).sum();
    let mut joiner = Joiner::new(client, capacity, |read: &Struct<'_>| read.is_text());
    for run in runs {
        joiner
            .push(&run.bytes, 0, run.bytes.len(), run.clock)
            .ok()?;
    }
    joiner.finish(clock).ok()
}
