//! Reads documents from an SQLite file, which is never written.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _};

use super::super::{Source, SourceError, SourceFuture, Survey, Updates, too_large};
use super::{PAGE_NAMES, Pages, Quoted, Row, Table};

/// How long to wait for the lock of a writer, such as a Hocuspocus that still runs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The result codes of a file that is no database, and of a damaged one.
const SQLITE_CORRUPT: &str = "11";
const SQLITE_NOTADB: &str = "26";

/// A table of an SQLite file.
#[derive(Debug)]
pub struct SqliteTable {
    connection: SqliteConnection,
    file: String,
    table: Table,
    quoted: Quoted,
    pages: Pages,
}

impl SqliteTable {
    /// Opens the file for reading only.
    pub async fn open(file: &Path, table: &Table) -> Result<Self, SourceError> {
        let shown = file.display().to_string();
        if !file.is_file() {
            return Err(SourceError::NotFound(format!("there is no file {shown}")));
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            // What a hostile file defines is not run.
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        let connection = options.connect().await;
        Ok(Self {
            connection: connection.map_err(|error| told(&shown, &error))?,
            quoted: table.quoted(),
            table: table.clone(),
            file: shown,
            pages: Pages::default(),
        })
    }

    async fn count(&mut self) -> Result<Survey, SourceError> {
        self.check_columns().await?;
        let Quoted { table, name, data } = &self.quoted;
        let sql = format!(
            "SELECT count(DISTINCT {name}), coalesce(sum(length({data})), 0) FROM {table} \
             WHERE {name} IS NOT NULL"
        );
        let row = sqlx::query(AssertSqlSafe(sql));
        let row = row.fetch_one(&mut self.connection).await;
        let read = |row: SqliteRow| {
            let documents: i64 = row.try_get(0)?;
            let bytes: i64 = row.try_get(1)?;
            Ok(Survey {
                documents: documents.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
            })
        };
        row.and_then(read).map_err(|error| self.told(&error))
    }

    /// SQLite takes a quoted name that is no column for a text.
    async fn check_columns(&mut self) -> Result<(), SourceError> {
        let Table {
            table,
            name_column,
            data_column,
        } = &self.table;
        let columns: Result<Vec<String>, _> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
                .bind(table)
                .fetch_all(&mut self.connection)
                .await;
        let columns = columns.map_err(|error| self.told(&error))?;
        let has = |wanted: &String| columns.iter().any(|it| it.eq_ignore_ascii_case(wanted));
        if has(name_column) && has(data_column) {
            return Ok(());
        }
        Err(SourceError::Refused(match columns.is_empty() {
            true => format!("{} has no table `{table}`; name it with --table", self.file),
            false => format!(
                "the table `{table}` has the columns {}; name those of the names and of the data \
                 with --name-column and --data-column",
                columns.join(", ")
            ),
        }))
    }

    async fn next_name(&mut self) -> Result<Option<String>, SourceError> {
        if self.pages.is_short() {
            let page = self.page().await?;
            self.pages.put(page);
        }
        Ok(self.pages.next())
    }

    async fn page(&mut self) -> Result<Vec<Row>, SourceError> {
        let Quoted { table, name, data } = &self.quoted;
        // Compared as a text of any bytes: a name need not be UTF-8.
        let sql = format!(
            "SELECT CAST({name} AS BLOB), typeof({name}), coalesce(sum(length({data})), 0) \
             FROM {table} WHERE {name} > CAST(?1 AS TEXT) OR (?1 IS NULL AND {name} IS NOT NULL) \
             GROUP BY {name} ORDER BY {name} LIMIT {PAGE_NAMES}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(self.pages.after());
        let rows = rows.fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.told(&error))?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &SqliteRow) -> Result<Row, SourceError> {
        let read = || {
            let name: Vec<u8> = row.try_get(0)?;
            let kind: String = row.try_get(1)?;
            let bytes: i64 = row.try_get(2)?;
            Ok((name, kind, bytes.unsigned_abs()))
        };
        let (name, kind, bytes) = read().map_err(|error: sqlx::Error| self.told(&error))?;
        match kind.as_str() {
            "text" | "integer" => Ok(Row { name, bytes }),
            kind => Err(SourceError::Refused(format!(
                "a name in {} is of type {kind}; names are texts",
                self.file
            ))),
        }
    }

    async fn read_current(&mut self, bytes_max: usize) -> Result<Updates, SourceError> {
        let Row { name, bytes } = self.pages.current.clone().unwrap_or_default();
        if bytes > bytes_max as u64 {
            return Ok(Err(too_large(bytes, bytes_max)));
        }
        if std::str::from_utf8(&name).is_err() {
            return Ok(Err("its name is not valid UTF-8".to_owned()));
        }
        let Quoted {
            table,
            name: column,
            data,
        } = &self.quoted;
        // In the order in which rows were written, for tables with several of one name.
        let sql =
            format!("SELECT {data}, typeof({data}) FROM {table} WHERE {column} = CAST(?1 AS TEXT)");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(name);
        let rows = rows.fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.told(&error))?;
        let mut updates = Vec::with_capacity(rows.len());
        for row in &rows {
            let kind: Result<String, _> = row.try_get(1);
            match kind.map_err(|error| self.told(&error))?.as_str() {
                "blob" => {
                    let update: Vec<u8> = row.try_get(0).map_err(|error| self.told(&error))?;
                    updates.push(Bytes::from(update));
                }
                "null" => {}
                kind => return Ok(Err(format!("its data is of type {kind}, not bytes"))),
            }
        }
        Ok(Ok(updates))
    }

    fn told(&self, error: &sqlx::Error) -> SourceError {
        told(&self.file, error)
    }
}

impl Source for SqliteTable {
    fn survey(&mut self) -> SourceFuture<'_, Survey> {
        Box::pin(self.count())
    }

    fn next(&mut self) -> SourceFuture<'_, Option<String>> {
        Box::pin(self.next_name())
    }

    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates> {
        Box::pin(self.read_current(bytes_max))
    }
}

fn told(file: &str, error: &sqlx::Error) -> SourceError {
    let told = format!("{file} cannot be read: {error}");
    let code = error.as_database_error().and_then(|it| it.code());
    match code.as_deref() {
        Some(SQLITE_NOTADB) => SourceError::Refused(format!("{file} is no SQLite database")),
        Some(SQLITE_CORRUPT) => SourceError::Damaged(told),
        _ => SourceError::Unavailable(told),
    }
}
