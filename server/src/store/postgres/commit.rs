//! One batch of appends, one statement, one flush; and what to do when its answer is lost.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::types::Uuid;

use super::super::checksum::AppendRow;
use super::super::claims::owner_bytes;
use super::super::{Append, AppendId, CommitOutcome, StoreError};
use super::PostgresOptions;
use super::claims;
use super::error::store_error;

mod text;

/// What most batches are: without claims of client ids.
const APPEND_BATCH: &str = "SELECT given_sequence, current_epoch, is_log_lost, is_busy \
     FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ORDER BY place";

const APPEND_BATCH_WITH_CLAIMS: &str = "SELECT given_sequence, current_epoch, is_log_lost, is_busy \
     FROM append_batch_with_claims($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
       $15, $16) ORDER BY place";

/// Appends whose fate may be unknown; the committer holds no more of them in a batch and its parts.
const DOUBTFUL_MAX: usize = 16_384;

/// Tries whose answers were lost; past it the oldest are as good as settled.
const LOST_MAX: usize = 1_024;

/// The sequence that checksums are computed with: the database gives the real one later.
pub(super) const CHECKED_SEQUENCE: u64 = 0;

/// What this node tried lately, as far as a repeat must know.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Tries>);

#[derive(Debug, Default)]
struct Tries {
    /// Ids of the appends that were tried, the oldest first.
    order: VecDeque<AppendId>,
    ids: HashSet<AppendId>,
    /// Tries without an answer.
    lost: VecDeque<Uuid>,
}

impl Attempts {
    /// Notes what is about to be tried; the tries that may have stored any of it before.
    fn begin(&self, attempt: Uuid, batch: &[Append]) -> Vec<Uuid> {
        let mut tries = self.tries();
        let mut is_repeat = false;
        for append in batch {
            if !tries.ids.insert(append.id) {
                is_repeat = true;
                continue;
            }
            tries.order.push_back(append.id);
            if tries.order.len() > DOUBTFUL_MAX
                && let Some(oldest) = tries.order.pop_front()
            {
                tries.ids.remove(&oldest);
            }
        }
        let doubtful = if is_repeat {
            // Ids that repeat without a lost try were stored: then the look into the log is forced.
            let stored = tries.lost.is_empty().then_some(Uuid::nil());
            tries.lost.iter().copied().chain(stored).collect()
        } else {
            Vec::new()
        };
        tries.lost.push_back(attempt);
        if tries.lost.len() > LOST_MAX {
            tries.lost.pop_front();
        }
        doubtful
    }

    /// The answer came: the try and those that it claimed are settled.
    fn settle(&self, attempt: Uuid, claimed: &[Uuid]) {
        let claimed: HashSet<&Uuid> = claimed.iter().collect();
        let mut tries = self.tries();
        tries
            .lost
            .retain(|one| *one != attempt && !claimed.contains(one));
    }

    /// What was passed over was not tried: it comes again, and is no repeat then.
    fn forget(&self, batch: &[Append], outcomes: &[CommitOutcome]) {
        let tried = batch.iter().zip(outcomes);
        let busy = tried.filter(|(_, outcome)| **outcome == CommitOutcome::Busy);
        let ids: HashSet<AppendId> = busy.map(|(append, _)| append.id).collect();
        if ids.is_empty() {
            return;
        }
        let mut tries = self.tries();
        tries.order.retain(|id| !ids.contains(id));
        tries.ids.retain(|id| !ids.contains(id));
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What commits go over.
#[derive(Debug)]
pub(super) struct Committing {
    /// Of its own, so that a commit never waits for a read.
    pub(super) pool: PgPool,
    attempts: Attempts,
    /// Set where statements have to travel as text: a proxy that pools transactions may give the parts
    /// of a prepared one to different connections. They bring the limits of their transaction.
    text: Option<String>,
}

impl Committing {
    pub(super) fn new(pool: PgPool, options: &PostgresOptions) -> Self {
        let limits = format!(
            "SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {};",
            options.statement_timeout.as_millis(),
            options.lock_timeout.as_millis(),
        );
        Self {
            pool,
            attempts: Attempts::default(),
            text: options.is_pooled.then_some(limits),
        }
    }
}

/// Stores the batch, each append once, in one statement.
pub(super) async fn commit(
    committing: &Committing,
    batch: &[Append],
    passes_over: bool,
) -> Result<Vec<CommitOutcome>, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let attempt = Uuid::from_u128(fastrand::u128(1..));
    let attempts = &committing.attempts;
    let doubtful = attempts.begin(attempt, batch);
    let rows = match &committing.text {
        None => append_batch(&committing.pool, attempt, &doubtful, batch, passes_over).await?,
        Some(limits) => {
            let text = text::append_batch(limits, attempt, &doubtful, batch, passes_over);
            let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(text));
            statement.fetch_all(&committing.pool).await?
        }
    };
    attempts.settle(attempt, &doubtful);
    let outcomes = rows
        .iter()
        .zip(batch)
        .map(|(row, append)| outcome(row, append))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| store_error(&error))?;
    attempts.forget(batch, &outcomes);
    Ok(outcomes)
}

async fn append_batch(
    pool: &PgPool,
    attempt: Uuid,
    doubtful: &[Uuid],
    batch: &[Append],
    passes_over: bool,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let names: Vec<&[u8]> = column(batch, |one| one.document.as_str().as_bytes());
    let epochs: Vec<i64> = column(batch, |one| one.epoch as i64);
    let ids: Vec<Uuid> = column(batch, |one| Uuid::from_bytes(one.id));
    let identities: Vec<Option<&str>> = column(batch, |one| one.origin.identity.as_deref());
    let doors: Vec<&str> = column(batch, |one| one.origin.door.as_str());
    let times_ms: Vec<i64> = column(batch, |one| one.time_ms as i64);
    let checksums: Vec<i64> = column(batch, |one| i64::from(checksum(one)));
    let contents: Vec<&[u8]> = column(batch, |one| &one.update[..]);
    let after_sequences: Vec<Option<i64>> =
        column(batch, |one| one.after.map(|after| after.sequence as i64));
    let after_ids: Vec<Option<Uuid>> = column(batch, |one| {
        one.after.map(|after| Uuid::from_bytes(after.id))
    });
    let claims = claims::of_batch(batch);
    let function = match claims.is_empty() {
        true => APPEND_BATCH,
        false => APPEND_BATCH_WITH_CLAIMS,
    };
    let mut query = sqlx::query(function)
        .bind(attempt)
        .bind(doubtful)
        .bind(names)
        .bind(epochs)
        .bind(ids)
        .bind(identities)
        .bind(doors)
        .bind(times_ms)
        .bind(checksums)
        .bind(contents)
        .bind(after_sequences)
        .bind(after_ids)
        .bind(passes_over);
    if !claims.is_empty() {
        let places: Vec<i64> = claims.iter().map(|(place, _)| *place).collect();
        let clients: Vec<i64> = claims.iter().map(|(_, it)| it.client as i64).collect();
        let owners = claims.iter().map(|(_, it)| owner_bytes(it));
        let owners: Vec<Option<&[u8]>> = owners.collect();
        query = query.bind(places).bind(clients).bind(owners);
    }
    query.fetch_all(pool).await
}

fn column<'a, T>(batch: &'a [Append], of: impl Fn(&'a Append) -> T) -> Vec<T> {
    batch.iter().map(of).collect()
}

fn checksum(append: &Append) -> u32 {
    AppendRow {
        document: &append.document,
        epoch: append.epoch,
        sequence: CHECKED_SEQUENCE,
        id: &append.id,
        origin: &append.origin,
        time_ms: append.time_ms,
        update: &append.update,
    }
    .checksum()
}

fn outcome(row: &PgRow, append: &Append) -> Result<CommitOutcome, sqlx::Error> {
    let sequence: Option<i64> = row.try_get(0)?;
    let current = row.try_get::<i64, _>(1)? as u64;
    Ok(match sequence {
        Some(sequence) => CommitOutcome::Committed {
            sequence: sequence as u64,
        },
        None if row.try_get::<bool, _>(3)? => CommitOutcome::Busy,
        None if row.try_get::<bool, _>(2)? => CommitOutcome::LogLost,
        None if current != append.epoch => CommitOutcome::EpochChanged { current },
        None => CommitOutcome::Quarantined,
    })
}
