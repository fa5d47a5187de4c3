//! What has to hold behind a sequence.

use std::time::{Duration, Instant};

use driftless::auth::Right;
use driftless_proto::engine::is_same_state;
use driftless_proto::name::DocumentName;
use yrs::{ReadTxn, Transact};

use crate::channel::guarded;
use crate::honest::{Honest, PATIENCE};
use crate::house::{House, take_panics};
use crate::stage::Stage;
use crate::view::view;

fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

/// Waits until a document has no more sessions than these.
async fn sessions_leave(house: &House, document: &str, left: usize) -> Result<(), String> {
    let by = Instant::now() + PATIENCE;
    loop {
        let count = house.registry.session_count(&name(document)).unwrap_or(0);
        if count <= left {
            return Ok(());
        }
        if Instant::now() > by {
            return Err(format!(
                "{count} sessions stay in {document}, where {left} are honest"
            ));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Peers leave, and every document is what honest clients made of it, and what peers were allowed to.
pub(crate) async fn check(stage: &mut Stage<'_>, is_mutated: bool) -> Result<(), String> {
    stage.hear().await?;
    stage.clear();
    let honest_sessions = stage.honest_sessions();
    for at in 0..stage.names.len() {
        let document = stage.names[at].clone();
        sessions_leave(stage.house, &document, honest_sessions).await?;
        stage.honest[at].write(".").await?;
        stage.honest[at].until_saved().await?;
        stored(stage, &document).await?;
        let (ledger, key) = (stage.ledger.clone(), stage.key.clone());
        let mut fresh =
            Honest::join(stage.house, &ledger, &mut stage.random, &key, &document).await;
        stage.honest[at].converge(&mut fresh).await?;
        same(stage, at, &fresh, is_mutated)?;
    }
    stage.hear().await?;
    no_panics()
}

/// What yrs or the server panicked at, if anything did.
pub(crate) fn no_panics() -> Result<(), String> {
    let panics = take_panics();
    match panics.is_empty() {
        true => Ok(()),
        false => Err(format!("PANIC: {}", panics.join("; "))),
    }
}

/// The document is the same after it was loaded again, and nobody without the right has written to it.
async fn stored(stage: &Stage<'_>, document: &str) -> Result<(), String> {
    let registry = &stage.house.registry;
    let told = |error| format!("{document} cannot be read: {error}");
    let before = registry.export(&name(document)).await.map_err(told)?;
    let told = |error| format!("{document} cannot be loaded again: {error}");
    stage.house.reload(&name(document)).await.map_err(told)?;
    let after = registry.export(&name(document)).await.map_err(told)?;
    if !is_same_state(&before, &after) {
        return Err(format!(
            "{document} is another one after it was loaded again"
        ));
    }
    stage
        .ledger
        .borrow()
        .check(None, document, &after, Right::Write)
}

/// A client that was there all the time and one that just came see the same.
fn same(stage: &Stage<'_>, at: usize, fresh: &Honest, is_mutated: bool) -> Result<(), String> {
    let honest = &stage.honest[at];
    let document = &honest.document;
    let (mine, theirs) = guarded("view", || (view(&honest.doc), view(&fresh.doc)))?;
    // Neighbours that never were any land where the order of integration puts them.
    let is_same = match is_mutated {
        true => mine.letters() == theirs.letters(),
        false => mine.content == theirs.content,
    };
    if !is_same {
        return Err(format!(
            "clients see different things in {document}:\n{}\n{}",
            mine.content, theirs.content
        ));
    }
    let vector = fresh.vector();
    let written = honest.mirror.transact().state_vector();
    for (client, clock) in written.iter() {
        if vector.get(client) < *clock {
            return Err(format!(
                "what an honest client wrote to {document} is missing"
            ));
        }
    }
    if stage.is_writable(document) {
        return Ok(());
    }
    let wanted = guarded("view", || view(&honest.mirror))?;
    match vector == written && theirs.content == wanted.content {
        true => Ok(()),
        false => Err(format!(
            "FORGED: nobody may write to {document}, and it has changed:\n{}\n{}",
            wanted.content, theirs.content
        )),
    }
}
