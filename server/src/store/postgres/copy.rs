//! Documents as a whole, out of the database and into it, for `driftless store copy`.

use std::collections::{HashMap, HashSet};

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::types::Uuid;

use super::super::checksum::{AppendRow, snapshot_checksum};
use super::super::claims::owner_bytes;
use super::super::copy::{CopyEnd, DocumentCopy, Exported, Import, Stamp};
use super::super::sql::{kind_name, signed};
use super::super::{LogLimits, StoreError, StoreFuture, StoredAppend};
use super::PostgresStore;
use super::claims;
use super::commit::CHECKED_SEQUENCE;
use super::history::name_of;
use super::inspect::examine_snapshots;
use super::load::{document_row, number, read_appends};
use super::statement;
use super::transaction::{begin, begin_snapshot};

/// Rows and bytes of appends in one statement: its parameters are in memory twice.
const STATEMENT_ROWS: usize = 4_000;
const STATEMENT_BYTES: usize = 8 << 20;

impl CopyEnd for PostgresStore {
    fn prepare(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stamps<'a>(
        &'a self,
        names: &'a [DocumentName],
    ) -> StoreFuture<'a, Vec<(DocumentName, Stamp)>> {
        Box::pin(async move {
            let mut connection = self.pool.acquire().await?;
            let names: Vec<&[u8]> = names.iter().map(|it| it.as_str().as_bytes()).collect();
            let rows = statement::query(
                "SELECT name, epoch, epoch_start, head, floor_sequence, changed_ms, quarantine, \
                   tombstone, (SELECT appends.id FROM appends \
                     WHERE document_id = documents.id AND sequence = head AND head > floor_sequence), \
                   (SELECT checksum FROM snapshots \
                     WHERE document_id = documents.id AND kind = 'base'), \
                   (SELECT checksum FROM snapshots \
                     WHERE document_id = documents.id AND kind = 'latest') \
                 FROM documents WHERE name = ANY ($1)",
            )
            .bind(names)
            .fetch_all(&mut *connection)
            .await?;
            rows.iter().map(stamp_of).collect()
        })
    }

    fn export_documents<'a>(&'a self, names: &'a [DocumentName]) -> StoreFuture<'a, Exported> {
        Box::pin(async move {
            let mut exported = Exported::default();
            for name in names {
                exported.add(name, export(&self.pool, name).await)?;
            }
            Ok(exported)
        })
    }

    fn import_documents<'a>(
        &'a self,
        documents: &'a [Import],
    ) -> StoreFuture<'a, Vec<DocumentName>> {
        Box::pin(async move {
            let mut transaction = begin(&self.pool).await?;
            let left = import(&mut transaction, documents).await?;
            transaction.commit().await?;
            Ok(left)
        })
    }
}

fn stamp_of(row: &PgRow) -> Result<(DocumentName, Stamp), StoreError> {
    let newest: Option<Uuid> = row.try_get(8)?;
    let tombstone: Option<Vec<u8>> = row.try_get(7)?;
    let checksum = |index| -> Result<Option<u32>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>, _>(index)?.map(|sum| sum as u32))
    };
    let stamp = Stamp {
        epoch: number(row, 1)?,
        epoch_start: number(row, 2)?,
        head: number(row, 3)?,
        floor: number(row, 4)?,
        changed_ms: number(row, 5)?,
        quarantine: row.try_get(6)?,
        tombstone: tombstone.map(Into::into),
        newest: newest.map(Uuid::into_bytes),
        snapshots: [checksum(9)?, checksum(10)?],
    };
    Ok((name_of(row, 0)?, stamp))
}

/// Reads a document in one database snapshot; the inner error says what is damaged.
async fn export(
    pool: &PgPool,
    name: &DocumentName,
) -> Result<Option<Result<DocumentCopy, String>>, StoreError> {
    let mut transaction = begin_snapshot(pool).await?;
    let Some(row) = document_row(&mut transaction, name).await? else {
        return Ok(None);
    };
    let changed_ms: i64 = statement::query_scalar("SELECT changed_ms FROM documents WHERE id = $1")
        .bind(row.id)
        .fetch_one(&mut *transaction)
        .await?;
    let mut findings = Vec::new();
    let (snapshots, _) = examine_snapshots(&mut transaction, name, &row, &mut findings).await?;
    let floor = row.floor_sequence;
    let read = read_appends(&mut transaction, name, &row, floor, LogLimits::NONE).await?;
    let mut copy = DocumentCopy {
        name: name.clone(),
        epoch: row.epoch,
        epoch_start: row.epoch_start,
        head: row.head,
        floor,
        changed_ms: changed_ms as u64,
        quarantine: row.quarantine,
        tombstone: row.tombstone.map(Into::into),
        base: None,
        latest: None,
        appends: read.appends,
        owners: claims::read(&mut transaction, name, 0).await?,
    };
    findings.extend(copy.take_snapshots(snapshots).err());
    findings.extend(read.damage);
    Ok(Some(match findings.is_empty() {
        true => Ok(copy),
        false => Err(findings.join("; ")),
    }))
}

/// Stores documents; returns those that are not as they were expected to be.
async fn import(
    connection: &mut PgConnection,
    documents: &[Import],
) -> Result<Vec<DocumentName>, StoreError> {
    let present = lock_present(connection, documents).await?;
    let mut replaced = Vec::new();
    let mut fitting = Vec::new();
    for import in documents {
        let found = present.get(&import.copy.name);
        if found.map(|(_, epoch, head)| (*epoch, *head)) != import.replaces {
            continue;
        }
        replaced.extend(found.map(|(id, ..)| *id));
        fitting.push(&import.copy);
    }
    for statement in [
        "DELETE FROM appends WHERE document_id = ANY ($1)",
        "DELETE FROM snapshots WHERE document_id = ANY ($1)",
        "DELETE FROM client_owners WHERE document_id = ANY ($1)",
    ] {
        if !replaced.is_empty() {
            let query = statement::query(statement).bind(&replaced);
            query.execute(&mut *connection).await?;
        }
    }
    let ids = put_rows(connection, &fitting, &replaced).await?;
    put_appends(connection, &fitting, &ids).await?;
    put_owners(connection, &fitting, &ids).await?;
    put_snapshots(connection, &fitting, &ids).await?;
    let stored: HashSet<&DocumentName> = ids.keys().collect();
    let names = documents.iter().map(|import| &import.copy.name);
    Ok(names
        .filter(|name| !stored.contains(name))
        .cloned()
        .collect())
}

/// Ids, epochs and heads of the documents that are there; locked until the transaction ends.
async fn lock_present(
    connection: &mut PgConnection,
    documents: &[Import],
) -> Result<HashMap<DocumentName, (i64, u64, u64)>, StoreError> {
    let names = documents.iter().map(|it| it.copy.name.as_str().as_bytes());
    let names: Vec<&[u8]> = names.collect();
    let rows = statement::query(
        "SELECT name, id, epoch, head FROM documents WHERE name = ANY ($1) ORDER BY id \
         FOR NO KEY UPDATE",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let id: i64 = row.try_get(1)?;
            Ok((name_of(row, 0)?, (id, number(row, 2)?, number(row, 3)?)))
        })
        .collect()
}

/// Writes the documents' own rows. One that somebody else made since the look is left out.
async fn put_rows(
    connection: &mut PgConnection,
    copies: &[&DocumentCopy],
    replaced: &[i64],
) -> Result<HashMap<DocumentName, i64>, StoreError> {
    let sizes: Vec<_> = copies.iter().map(|copy| copy.sizes()).collect();
    let numbers = |of: &dyn Fn(&DocumentCopy) -> u64| -> Vec<i64> {
        copies.iter().map(|copy| signed(of(copy))).collect()
    };
    let names: Vec<&[u8]> = copies
        .iter()
        .map(|it| it.name.as_str().as_bytes())
        .collect();
    let quarantines: Vec<Option<&str>> = copies.iter().map(|it| it.quarantine.as_deref()).collect();
    let tombstones: Vec<Option<&[u8]>> = copies.iter().map(|it| it.tombstone.as_deref()).collect();
    let rows = statement::query(
        "INSERT INTO documents (name, epoch, epoch_start, head, floor_sequence, trimmed_sequence, \
           changed_ms, quarantine, tombstone, log_bytes, covered_sequence, covered_bytes, oldest_ms) \
         SELECT name, epoch, epoch_start, head, floor, floor, changed_ms, quarantine, tombstone, \
           log_bytes, covered_sequence, covered_bytes, oldest_ms \
         FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], \
           $6::bigint[], $7::text[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], \
           $12::bigint[]) AS one (name, epoch, epoch_start, head, floor, changed_ms, quarantine, \
           tombstone, log_bytes, covered_sequence, covered_bytes, oldest_ms) \
         ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, \
           epoch_start = excluded.epoch_start, head = excluded.head, \
           floor_sequence = excluded.floor_sequence, trimmed_sequence = excluded.trimmed_sequence, \
           changed_ms = excluded.changed_ms, quarantine = excluded.quarantine, \
           tombstone = excluded.tombstone, log_bytes = excluded.log_bytes, floor_bytes = 0, \
           covered_sequence = excluded.covered_sequence, covered_bytes = excluded.covered_bytes, \
           oldest_ms = excluded.oldest_ms \
         WHERE documents.id = ANY ($13) RETURNING name, id",
    )
    .bind(names)
    .bind(numbers(&|it| it.epoch))
    .bind(numbers(&|it| it.epoch_start))
    .bind(numbers(&|it| it.head))
    .bind(numbers(&|it| it.floor))
    .bind(numbers(&|it| it.changed_ms))
    .bind(quarantines)
    .bind(tombstones)
    .bind(sizes.iter().map(|it| signed(it.log_bytes)).collect::<Vec<_>>())
    .bind(sizes.iter().map(|it| signed(it.covered_sequence)).collect::<Vec<_>>())
    .bind(sizes.iter().map(|it| signed(it.covered_bytes)).collect::<Vec<_>>())
    .bind(sizes.iter().map(|it| it.oldest_ms.map(signed)).collect::<Vec<_>>())
    .bind(replaced)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((name_of(row, 0)?, row.try_get(1)?)))
        .collect()
}

/// An append and where it goes.
type Placed<'a> = (i64, &'a DocumentCopy, &'a StoredAppend);

async fn put_appends(
    connection: &mut PgConnection,
    copies: &[&DocumentCopy],
    ids: &HashMap<DocumentName, i64>,
) -> Result<(), sqlx::Error> {
    let mut waiting: Vec<Placed<'_>> = Vec::new();
    let mut bytes = 0;
    for copy in copies {
        let Some(&id) = ids.get(&copy.name) else {
            continue;
        };
        for append in &copy.appends {
            waiting.push((id, copy, append));
            bytes += append.update.len();
            if waiting.len() >= STATEMENT_ROWS || bytes >= STATEMENT_BYTES {
                put_some(connection, &waiting).await?;
                waiting.clear();
                bytes = 0;
            }
        }
    }
    put_some(connection, &waiting).await
}

async fn put_some(connection: &mut PgConnection, rows: &[Placed<'_>]) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    statement::query(
        "INSERT INTO appends (document_id, sequence, id, epoch, identity, door, time_ms, checksum, \
           content) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::bigint[], \
           $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bytea[])",
    )
    .bind(column(rows, |(id, ..)| *id))
    .bind(column(rows, |(_, _, it)| signed(it.sequence)))
    .bind(column(rows, |(_, _, it)| Uuid::from_bytes(it.id)))
    .bind(column(rows, |(_, copy, _)| signed(copy.epoch)))
    .bind(column(rows, |(_, _, it)| it.origin.identity.as_deref()))
    .bind(column(rows, |(_, _, it)| it.origin.door.as_str()))
    .bind(column(rows, |(_, _, it)| signed(it.time_ms)))
    .bind(column(rows, |(_, copy, it)| i64::from(checksum(copy, it))))
    .bind(column(rows, |(_, _, it)| &it.update[..]))
    .execute(connection)
    .await?;
    Ok(())
}

fn column<'a, T, R>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn checksum(copy: &DocumentCopy, append: &StoredAppend) -> u32 {
    AppendRow {
        document: &copy.name,
        epoch: copy.epoch,
        sequence: CHECKED_SEQUENCE,
        id: &append.id,
        origin: &append.origin,
        time_ms: append.time_ms,
        update: &append.update,
    }
    .checksum()
}

async fn put_owners(
    connection: &mut PgConnection,
    copies: &[&DocumentCopy],
    ids: &HashMap<DocumentName, i64>,
) -> Result<(), sqlx::Error> {
    for copy in copies {
        let Some(&id) = ids.get(&copy.name) else {
            continue;
        };
        for owners in copy.owners.chunks(STATEMENT_ROWS) {
            statement::query(
                "INSERT INTO client_owners (document_id, epoch, client, sequence, owner) \
                 SELECT $1, $2, * FROM unnest($3::bigint[], $4::bigint[], $5::bytea[])",
            )
            .bind(id)
            .bind(signed(copy.epoch))
            .bind(column(owners, |it| signed(it.claim.client)))
            .bind(column(owners, |it| signed(it.sequence)))
            .bind(column(owners, |it| owner_bytes(&it.claim)))
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}

async fn put_snapshots(
    connection: &mut PgConnection,
    copies: &[&DocumentCopy],
    ids: &HashMap<DocumentName, i64>,
) -> Result<(), sqlx::Error> {
    for copy in copies {
        let Some(&id) = ids.get(&copy.name) else {
            continue;
        };
        for (kind, snapshot) in copy.snapshots() {
            let checksum =
                snapshot_checksum(&copy.name, copy.epoch, snapshot.sequence, &snapshot.state);
            statement::query(
                "INSERT INTO snapshots (document_id, kind, epoch, sequence, checksum, state) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(id)
            .bind(kind_name(kind))
            .bind(signed(copy.epoch))
            .bind(signed(snapshot.sequence))
            .bind(i64::from(checksum))
            .bind(&snapshot.state[..])
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}
