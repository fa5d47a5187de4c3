//! Documents as a whole, out of the file and into it, for `driftless store copy`.

use std::collections::HashMap;
use std::sync::LazyLock;

use driftless_proto::name::DocumentName;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::super::checksum::{AppendRow, snapshot_checksum};
use super::super::copy::{CopyEnd, DocumentCopy, Exported, Import, Stamp};
use super::super::sql::{kind_name, signed};
use super::super::{LogLimits, StoreError, StoreFuture, StoredAppend};
use super::SqliteStore;
use super::claims::{self, NewClaim};
use super::history::name_of;
use super::inspect::examine_snapshots;
use super::load::{number, read_appends, read_row};
use super::rows::RowStatement;
use super::unsettled::Unsettled;
use super::writer::{begin, end};

static SELECT_STAMPS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "SELECT name, epoch, epoch_start, head, floor_sequence, changed_ms, quarantine, tombstone, \
           (SELECT appends.id FROM appends WHERE document_id = documents.id \
             AND sequence = head AND head > floor_sequence), \
           (SELECT checksum FROM snapshots WHERE document_id = documents.id AND kind = 'base'), \
           (SELECT checksum FROM snapshots WHERE document_id = documents.id AND kind = 'latest') \
         FROM documents WHERE name IN (",
        "?",
        ")",
    )
});

static INSERT_APPENDS: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT INTO appends (document_id, sequence, id, epoch, identity, door, time_ms, checksum, \
         content) VALUES ",
        "(?,?,?,?,?,?,?,?,?)",
        "",
    )
});

impl CopyEnd for SqliteStore {
    fn prepare(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.writer.settle())
    }

    fn stamps<'a>(
        &'a self,
        names: &'a [DocumentName],
    ) -> StoreFuture<'a, Vec<(DocumentName, Stamp)>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let mut stamps = Vec::with_capacity(names.len());
            for (sql, chunk) in SELECT_STAMPS.chunks(names) {
                let mut query = sqlx::query(sql);
                for name in chunk {
                    query = query.bind(name.as_str().as_bytes());
                }
                let rows = query.fetch_all(&mut *connection).await?;
                for row in &rows {
                    stamps.push(stamp_of(row)?);
                }
            }
            Ok(stamps)
        })
    }

    fn export_documents<'a>(&'a self, names: &'a [DocumentName]) -> StoreFuture<'a, Exported> {
        Box::pin(async move {
            let mut exported = Exported::default();
            for name in names {
                exported.add(name, export(&self.readers, &self.unsettled, name).await)?;
            }
            Ok(exported)
        })
    }

    fn import_documents<'a>(
        &'a self,
        documents: &'a [Import],
    ) -> StoreFuture<'a, Vec<DocumentName>> {
        Box::pin(async move {
            let mut lease = self.writer.lease().await?;
            let bytes = documents.iter().map(|it| it.copy.sizes().log_bytes).sum();
            lease.wal().add(bytes);
            let result = import(&mut lease.connection, documents).await;
            let left = lease.finish(result)?;
            // Nobody else moves the write-ahead log into the database while documents are copied.
            self.tidy_up().await?;
            Ok(left)
        })
    }
}

fn stamp_of(row: &SqliteRow) -> Result<(DocumentName, Stamp), StoreError> {
    let newest: Option<Vec<u8>> = row.try_get(8)?;
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
        newest: newest.and_then(|id| id.try_into().ok()),
        snapshots: [checksum(9)?, checksum(10)?],
    };
    Ok((name_of(row, 0)?, stamp))
}

/// Reads a document in one database snapshot; the inner error says what is damaged.
async fn export(
    readers: &SqlitePool,
    unsettled: &Unsettled,
    name: &DocumentName,
) -> Result<Option<Result<DocumentCopy, String>>, StoreError> {
    let is_unsettled = unsettled.contains(name);
    let mut transaction = readers.begin().await?;
    let Some(row) = read_row(&mut transaction, name, is_unsettled).await? else {
        return Ok(None);
    };
    let changed_ms: i64 = sqlx::query_scalar("SELECT changed_ms FROM documents WHERE id = ?")
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
    if is_unsettled {
        findings.push("its newest changes cannot be moved into its log".to_owned());
    }
    Ok(Some(match findings.is_empty() {
        true => Ok(copy),
        false => Err(findings.join("; ")),
    }))
}

/// Stores documents in one transaction; returns those that are not as they were expected to be.
async fn import(
    connection: &mut SqliteConnection,
    documents: &[Import],
) -> Result<Vec<DocumentName>, StoreError> {
    begin(connection).await?;
    let mut left = Vec::new();
    let mut ids: HashMap<&DocumentName, i64> = HashMap::new();
    for import in documents {
        match put_row(connection, import).await? {
            Some(id) => drop(ids.insert(&import.copy.name, id)),
            None => left.push(import.copy.name.clone()),
        }
    }
    let stored = || {
        let copies = documents.iter().map(|import| &import.copy);
        copies.filter_map(|copy| Some((*ids.get(&copy.name)?, copy)))
    };
    let appends: Vec<Placed<'_>> = stored()
        .flat_map(|(id, copy)| copy.appends.iter().map(move |append| (id, copy, append)))
        .collect();
    put_appends(connection, &appends).await?;
    let owners: Vec<NewClaim<'_>> = stored().flat_map(claims_of).collect();
    claims::put(connection, &owners).await?;
    for (id, copy) in stored() {
        put_snapshots(connection, id, copy).await?;
    }
    end(connection).await?;
    Ok(left)
}

fn claims_of((document_id, copy): (i64, &DocumentCopy)) -> impl Iterator<Item = NewClaim<'_>> {
    copy.owners.iter().map(move |stored| NewClaim {
        document_id,
        epoch: copy.epoch,
        sequence: stored.sequence,
        claim: &stored.claim,
    })
}

/// Writes a document's own row and clears what it replaces; nothing if it is not as expected.
async fn put_row(
    connection: &mut SqliteConnection,
    import: &Import,
) -> Result<Option<i64>, StoreError> {
    let Import { copy, replaces } = import;
    let present = sqlx::query("SELECT id, epoch, head FROM documents WHERE name = ?")
        .bind(copy.name.as_str().as_bytes())
        .fetch_optional(&mut *connection)
        .await?;
    let found = match &present {
        Some(row) => Some((number(row, 1)?, number(row, 2)?)),
        None => None,
    };
    if found != *replaces {
        return Ok(None);
    }
    if let Some(row) = &present {
        let id: i64 = row.try_get(0)?;
        for statement in [
            "DELETE FROM appends WHERE document_id = ?",
            "DELETE FROM snapshots WHERE document_id = ?",
            "DELETE FROM client_owners WHERE document_id = ?",
        ] {
            sqlx::query(statement)
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
    }
    let sizes = copy.sizes();
    let id = sqlx::query_scalar(
        "INSERT INTO documents (name, epoch, epoch_start, head, floor_sequence, trimmed_sequence, \
           changed_ms, quarantine, tombstone, log_bytes, covered_sequence, covered_bytes, oldest_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
         ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, \
           epoch_start = excluded.epoch_start, head = excluded.head, \
           floor_sequence = excluded.floor_sequence, trimmed_sequence = excluded.trimmed_sequence, \
           changed_ms = excluded.changed_ms, quarantine = excluded.quarantine, \
           tombstone = excluded.tombstone, log_bytes = excluded.log_bytes, floor_bytes = 0, \
           covered_sequence = excluded.covered_sequence, covered_bytes = excluded.covered_bytes, \
           oldest_ms = excluded.oldest_ms RETURNING id",
    )
    .bind(copy.name.as_str().as_bytes())
    .bind(signed(copy.epoch))
    .bind(signed(copy.epoch_start))
    .bind(signed(copy.head))
    .bind(signed(copy.floor))
    .bind(signed(copy.changed_ms))
    .bind(copy.quarantine.as_deref())
    .bind(copy.tombstone.as_deref())
    .bind(signed(sizes.log_bytes))
    .bind(signed(sizes.covered_sequence))
    .bind(signed(sizes.covered_bytes))
    .bind(sizes.oldest_ms.map(signed))
    .fetch_one(connection)
    .await?;
    Ok(Some(id))
}

/// An append and where it goes.
type Placed<'a> = (i64, &'a DocumentCopy, &'a StoredAppend);

async fn put_appends(
    connection: &mut SqliteConnection,
    appends: &[Placed<'_>],
) -> Result<(), sqlx::Error> {
    for (sql, chunk) in INSERT_APPENDS.chunks(appends) {
        let mut query = sqlx::query(sql);
        for (id, copy, append) in chunk {
            query = query
                .bind(*id)
                .bind(signed(append.sequence))
                .bind(&append.id[..])
                .bind(signed(copy.epoch))
                .bind(append.origin.identity.as_deref())
                .bind(append.origin.door.as_str())
                .bind(signed(append.time_ms))
                .bind(i64::from(checksum(copy, append)))
                .bind(&append.update[..]);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn checksum(copy: &DocumentCopy, append: &StoredAppend) -> u32 {
    AppendRow {
        document: &copy.name,
        epoch: copy.epoch,
        sequence: append.sequence,
        id: &append.id,
        origin: &append.origin,
        time_ms: append.time_ms,
        update: &append.update,
    }
    .checksum()
}

async fn put_snapshots(
    connection: &mut SqliteConnection,
    id: i64,
    copy: &DocumentCopy,
) -> Result<(), sqlx::Error> {
    for (kind, snapshot) in copy.snapshots() {
        let checksum =
            snapshot_checksum(&copy.name, copy.epoch, snapshot.sequence, &snapshot.state);
        sqlx::query(
            "INSERT INTO snapshots (document_id, kind, epoch, sequence, checksum, state) \
             VALUES (?, ?, ?, ?, ?, ?)",
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
    Ok(())
}
