//! One batch of appends, one transaction, one flush.

use std::collections::HashMap;
use std::sync::LazyLock;

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::checksum::AppendRow;
use super::super::{Append, AppendId, CommitOutcome, StoreError};
use super::attempts::ATTEMPTS_MAX;
use super::claims::{self, NewClaim};
use super::error::store_error;
use super::rows::RowStatement;
use super::unsettled::Unsettled;
use super::writer::{LastCommit, begin, end};

static SELECT_DOCUMENTS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "SELECT id, name, epoch, head, quarantine IS NOT NULL FROM documents WHERE name IN (",
        "?",
        ")",
    )
});
// A transaction begins and ends with its first and last statement: each way to SQLite's thread and
// back costs two switches of threads, and a commit of a few rows little else.
static BEGIN_AND_SELECT: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "BEGIN IMMEDIATE; \
         SELECT id, name, epoch, head, quarantine IS NOT NULL FROM documents WHERE name IN (",
        "?",
        ")",
    )
});
static INSERT_DOCUMENTS: LazyLock<RowStatement> =
    LazyLock::new(|| RowStatement::new("INSERT INTO documents (name) VALUES ", "(?)", ""));
static INSERT_ROWS: LazyLock<RowStatement> = LazyLock::new(|| insert_rows_between("", ""));
static BEGIN_AND_INSERT: LazyLock<RowStatement> =
    LazyLock::new(|| insert_rows_between("BEGIN IMMEDIATE; ", ""));
static INSERT_AND_COMMIT: LazyLock<RowStatement> =
    LazyLock::new(|| insert_rows_between("", "; COMMIT"));

/// What a committed batch brought.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) outcomes: Vec<CommitOutcome>,
    /// Rows and bytes that were written.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Claims that came with them.
    pub(super) claims: u64,
    /// The newest append of the batch, if any was stored.
    pub(super) last: Option<LastCommit>,
}

/// Ids that are stored already, by document row.
type KnownIds = HashMap<(i64, AppendId), u64>;

/// Documents whose rows are remembered; past it all are settled, forgotten and read again.
const REMEMBERED_MAX: usize = 16_384;

/// The rows of documents that were committed to lately, as they are once the journal is settled.
/// Whoever changes one by other means than a commit has to settle it first, and to forget them.
#[derive(Debug, Default)]
pub(super) struct Remembered(HashMap<DocumentName, DocumentRow>);

impl Remembered {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn forget_documents(&mut self, names: &[DocumentName]) {
        for name in names {
            self.0.remove(name);
        }
    }

    /// True when no more documents should be remembered beside these.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= REMEMBERED_MAX
    }

    fn keep(&mut self, targets: &[Target<'_>]) {
        for (name, row) in targets.iter().filter_map(|it| Some((it.name, it.row?))) {
            match self.0.get_mut(name) {
                Some(kept) => *kept = row,
                None => {
                    self.0.insert(name.clone(), row);
                }
            }
        }
    }
}

/// A document that appends of the batch belong to.
struct Target<'a> {
    name: &'a DocumentName,
    row: Option<DocumentRow>,
}

/// A row of `documents`, as far as commits need it.
#[derive(Debug, Clone, Copy)]
struct DocumentRow {
    id: i64,
    epoch: u64,
    head: u64,
    is_quarantined: bool,
}

/// A row to be written.
struct NewRow<'a> {
    document_id: i64,
    sequence: u64,
    append: &'a Append,
}

/// Stores the batch in the journal, each append once, in one transaction.
///
/// `look_up_ids`: some of it may be stored already, as after a lost reply; the journal is settled.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    batch: &[Append],
    look_up_ids: bool,
    remembered: &mut Remembered,
    unsettled: &Unsettled,
) -> Result<Committed, StoreError> {
    let committed = attempt(connection, batch, look_up_ids, remembered, unsettled).await;
    committed.map_err(|error| {
        remembered.forget();
        store_error(&error)
    })
}

async fn attempt(
    connection: &mut SqliteConnection,
    batch: &[Append],
    look_up_ids: bool,
    remembered: &mut Remembered,
    unsettled: &Unsettled,
) -> Result<Committed, sqlx::Error> {
    let (mut targets, target_of) = group(batch, remembered);
    let mut has_begun = targets.iter().any(|target| target.row.is_none());
    if has_begun {
        read_documents(connection, &mut targets, true).await?;
    } else if look_up_ids {
        begin(connection).await?;
        has_begun = true;
    }
    create_missing(connection, batch, &target_of, &mut targets).await?;
    let mut known = look_up_ids.then(KnownIds::new);
    if let Some(known) = &mut known {
        find_known(connection, &targets, known).await?;
    }
    let (outcomes, rows) = assign(batch, &target_of, &mut targets, known);
    // Before they are written: a reader may find one too many in it, never one too few.
    let documents = targets.iter();
    unsettled.note(documents.filter_map(|target| Some((target.name, target.row?.id))));
    let claims = claims_of(&rows);
    if !claims.is_empty() {
        if !has_begun {
            begin(connection).await?;
            has_begun = true;
        }
        claims::put(connection, &claims).await?;
    }
    insert_and_commit(connection, &rows, has_begun).await?;
    remembered.keep(&targets);
    Ok(Committed {
        outcomes,
        rows: rows.len() as u64,
        bytes: rows.iter().map(|row| row.append.update.len() as u64).sum(),
        claims: claims.len() as u64,
        last: rows.last().map(|row| LastCommit {
            document_id: row.document_id,
            sequence: row.sequence,
            id: row.append.id,
        }),
    })
}

/// The documents of a batch, and for each append the index of its document.
fn group<'a>(batch: &'a [Append], remembered: &Remembered) -> (Vec<Target<'a>>, Vec<usize>) {
    let mut index_of: HashMap<&DocumentName, usize> = HashMap::new();
    let mut targets: Vec<Target<'_>> = Vec::new();
    let target_of = batch
        .iter()
        .map(|append| {
            *index_of.entry(&append.document).or_insert_with(|| {
                targets.push(Target {
                    name: &append.document,
                    row: remembered.0.get(&append.document).copied(),
                });
                targets.len() - 1
            })
        })
        .collect();
    (targets, target_of)
}

/// Fills in the rows of those targets that have none yet and exist; `begins`: in a transaction that
/// it opens.
async fn read_documents(
    connection: &mut SqliteConnection,
    targets: &mut [Target<'_>],
    mut begins: bool,
) -> Result<(), sqlx::Error> {
    let mut index_of: HashMap<&[u8], usize> = HashMap::new();
    for (index, target) in targets.iter().enumerate() {
        if target.row.is_none() {
            index_of.insert(target.name.as_str().as_bytes(), index);
        }
    }
    let names: Vec<&[u8]> = index_of.keys().copied().collect();
    let mut found = Vec::with_capacity(names.len());
    for (sql, chunk) in SELECT_DOCUMENTS.chunks(&names) {
        let opening = std::mem::take(&mut begins).then(|| BEGIN_AND_SELECT.of_chunk(chunk));
        let mut query = sqlx::query(opening.flatten().unwrap_or(sql));
        for name in chunk {
            query = query.bind(*name);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let name: &[u8] = row.try_get(1)?;
            if let Some(index) = index_of.get(name) {
                found.push((*index, document_row(&row)?));
            }
        }
    }
    for (index, row) in found {
        targets[index].row = Some(row);
    }
    Ok(())
}

fn document_row(row: &SqliteRow) -> Result<DocumentRow, sqlx::Error> {
    Ok(DocumentRow {
        id: row.try_get(0)?,
        epoch: row.try_get::<i64, _>(2)? as u64,
        head: row.try_get::<i64, _>(3)? as u64,
        is_quarantined: row.try_get(4)?,
    })
}

/// Creates the documents whose first append is in the batch; they start in epoch 1.
async fn create_missing(
    connection: &mut SqliteConnection,
    batch: &[Append],
    target_of: &[usize],
    targets: &mut [Target<'_>],
) -> Result<(), sqlx::Error> {
    let mut is_new = vec![false; targets.len()];
    for (append, &target) in batch.iter().zip(target_of) {
        is_new[target] |= targets[target].row.is_none() && append.epoch == 1;
    }
    let names: Vec<&[u8]> = targets
        .iter()
        .zip(&is_new)
        .filter(|(_, is_new)| **is_new)
        .map(|(target, _)| target.name.as_str().as_bytes())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    for (sql, chunk) in INSERT_DOCUMENTS.chunks(&names) {
        let mut query = sqlx::query(sql);
        for name in chunk {
            query = query.bind(*name);
        }
        query.execute(&mut *connection).await?;
    }
    read_documents(connection, targets, false).await
}

/// Reads the newest ids of each document: a repeat is among them.
async fn find_known(
    connection: &mut SqliteConnection,
    targets: &[Target<'_>],
    known: &mut KnownIds,
) -> Result<(), sqlx::Error> {
    for row in targets.iter().filter_map(|target| target.row.as_ref()) {
        let newest = sqlx::query(
            "SELECT sequence, id FROM appends \
             WHERE document_id = ? AND epoch = ? AND sequence > ?",
        )
        .bind(row.id)
        .bind(row.epoch as i64)
        .bind(row.head.saturating_sub(ATTEMPTS_MAX as u64) as i64);
        for stored in newest.fetch_all(&mut *connection).await? {
            let id: &[u8] = stored.try_get(1)?;
            if let Ok(id) = AppendId::try_from(id) {
                known.insert((row.id, id), stored.try_get::<i64, _>(0)? as u64);
            }
        }
    }
    Ok(())
}

/// Gives each append its sequence number, or the reason why it gets none. Pure.
fn assign<'a>(
    batch: &'a [Append],
    target_of: &[usize],
    targets: &mut [Target<'_>],
    mut known: Option<KnownIds>,
) -> (Vec<CommitOutcome>, Vec<NewRow<'a>>) {
    let mut rows = Vec::with_capacity(batch.len());
    let mut outcomes = Vec::with_capacity(batch.len());
    for (append, &target) in batch.iter().zip(target_of) {
        let target = &mut targets[target];
        // Only a document of epoch 1 can be unknown here: the others were created.
        let Some(row) = &mut target.row else {
            outcomes.push(CommitOutcome::EpochChanged { current: 1 });
            continue;
        };
        if append.epoch != row.epoch {
            outcomes.push(CommitOutcome::EpochChanged { current: row.epoch });
            continue;
        }
        let key = (row.id, append.id);
        if let Some(&sequence) = known.as_ref().and_then(|known| known.get(&key)) {
            outcomes.push(CommitOutcome::Committed { sequence });
            continue;
        }
        if row.is_quarantined {
            outcomes.push(CommitOutcome::Quarantined);
            continue;
        }
        row.head += 1;
        if let Some(known) = &mut known {
            known.insert(key, row.head);
        }
        outcomes.push(CommitOutcome::Committed { sequence: row.head });
        rows.push(NewRow {
            document_id: row.id,
            sequence: row.head,
            append,
        });
    }
    (outcomes, rows)
}

/// What is to be stored of owners. Where client ids are free there is nothing.
fn claims_of<'a>(rows: &[NewRow<'a>]) -> Vec<NewClaim<'a>> {
    let of_row = |row: &NewRow<'a>| {
        let (document_id, sequence, append) = (row.document_id, row.sequence, row.append);
        append.claims.iter().map(move |claim| NewClaim {
            document_id,
            epoch: append.epoch,
            sequence,
            claim,
        })
    };
    rows.iter().flat_map(of_row).collect()
}

/// An error ends the whole transaction: without the need to undo one statement alone, SQLite keeps
/// no journal of the pages that it touches.
fn insert_rows_between(before: &str, after: &str) -> RowStatement {
    let insert = format!(
        "{before}INSERT OR ROLLBACK INTO journal (document_id, sequence, id, epoch, identity, door, \
         time_ms, checksum, content) VALUES "
    );
    RowStatement::new(&insert, "(?,?,?,?,?,?,?,?,?)", after)
}

/// Rows that fit one statement need no transaction around it.
async fn insert_and_commit(
    connection: &mut SqliteConnection,
    rows: &[NewRow<'_>],
    mut has_begun: bool,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() && has_begun {
        return end(connection).await;
    }
    let mut left = rows.len();
    for (sql, chunk) in INSERT_ROWS.chunks(rows) {
        left -= chunk.len();
        let framed = match (has_begun, left) {
            (true, 0) => INSERT_AND_COMMIT.of_chunk(chunk),
            (false, 1..) => BEGIN_AND_INSERT.of_chunk(chunk),
            _ => None,
        };
        has_begun = true;
        let mut query = sqlx::query(framed.unwrap_or(sql));
        for NewRow {
            document_id,
            sequence,
            append,
        } in chunk
        {
            let checksum = AppendRow {
                document: &append.document,
                epoch: append.epoch,
                sequence: *sequence,
                id: &append.id,
                origin: &append.origin,
                time_ms: append.time_ms,
                update: &append.update,
            }
            .checksum();
            query = query
                .bind(*document_id)
                .bind(*sequence as i64)
                .bind(&append.id[..])
                .bind(append.epoch as i64)
                .bind(append.origin.identity.as_deref())
                .bind(append.origin.door.as_str())
                .bind(append.time_ms as i64)
                .bind(i64::from(checksum))
                .bind(&append.update[..]);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
