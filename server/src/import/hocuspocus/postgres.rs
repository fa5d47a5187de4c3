//! Reads documents from a table in PostgreSQL, which is never written.

use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Postgres, Row as _};

use super::super::{Source, SourceError, SourceFuture, Survey, Updates, too_large};
use super::{PAGE_NAMES, Pages, Quoted, Row, Table, quote};

/// How long to wait for an answer to the first call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The one type that holds bytes.
const BYTEA: &str = "bytea";

/// A table of a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresTable {
    connection: PgConnection,
    table: Table,
    quoted: Quoted,
    /// The type of the column of names, as SQL.
    name_type: String,
    pages: Pages,
}

impl PostgresTable {
    /// Connects. The error never repeats the URL, which may hold a password.
    pub async fn open(url: &str, table: &Table) -> Result<Self, SourceError> {
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            SourceError::Refused(
                "the URL of --postgres cannot be read; write \
                 postgres://user:password@host:5432/database"
                    .to_owned(),
            )
        })?;
        let options = options
            .application_name("driftless import")
            .disable_statement_logging();
        let connecting = PgConnection::connect_with(&options);
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let connection = connection.map_err(|_| {
            let told = "the PostgreSQL server of the source does not answer";
            SourceError::Unavailable(told.to_owned())
        })?;
        Ok(Self {
            connection: connection.map_err(|error| told(&error))?,
            quoted: Quoted {
                // `schema.table`
                table: table
                    .table
                    .splitn(2, '.')
                    .map(quote)
                    .collect::<Vec<_>>()
                    .join("."),
                ..table.quoted()
            },
            table: table.clone(),
            name_type: String::new(),
            pages: Pages::default(),
        })
    }

    async fn count(&mut self) -> Result<Survey, SourceError> {
        self.name_type = self.type_of(&self.table.name_column.clone()).await?;
        let data_type = self.type_of(&self.table.data_column.clone()).await?;
        if data_type != BYTEA {
            return Err(SourceError::Refused(format!(
                "the column `{}` is of type {data_type}, not {BYTEA}; name another with \
                 --data-column",
                self.table.data_column
            )));
        }
        let Quoted { table, name, data } = &self.quoted;
        let sql = format!(
            "SELECT count(DISTINCT {name}), coalesce(sum(octet_length({data})), 0)::bigint \
             FROM {table} WHERE {name} IS NOT NULL"
        );
        let row = query(sql).fetch_one(&mut self.connection).await;
        let read = |row: PgRow| {
            let documents: i64 = row.try_get(0)?;
            let bytes: i64 = row.try_get(1)?;
            Ok(Survey {
                documents: documents.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
            })
        };
        row.and_then(read).map_err(|error| told(&error))
    }

    async fn type_of(&mut self, column: &str) -> Result<String, SourceError> {
        // `character` without a length would be one character: its other name has none.
        let sql = "SELECT CASE WHEN atttypid = 'bpchar'::regtype THEN 'bpchar' \
                   ELSE format_type(atttypid, NULL) END FROM pg_attribute \
                   WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped";
        let row = query(sql.to_owned())
            .bind(&self.quoted.table)
            .bind(column)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| told(&error))?;
        match row {
            Some(row) => row.try_get(0).map_err(|error| told(&error)),
            None => Err(SourceError::Refused(format!(
                "there is no table `{}` with a column `{column}` that this role may see; name them \
                 with --table, --name-column and --data-column",
                self.table.table
            ))),
        }
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
        let name_type = &self.name_type;
        let after = self.pages.after();
        let after = after.map(|name| String::from_utf8_lossy(&name).into_owned());
        // Compared in the column's own type and order, so that its index serves every page.
        let bound = match after {
            Some(_) => format!("{name} > ($1::text)::{name_type}"),
            None => format!("$1::text IS NULL AND {name} IS NOT NULL"),
        };
        let sql = format!(
            "SELECT {name}::text, coalesce(sum(octet_length({data})), 0)::bigint FROM {table} \
             WHERE {bound} GROUP BY {name} ORDER BY {name} LIMIT {PAGE_NAMES}"
        );
        let rows = query(sql)
            .bind(after)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| told(&error))?;
        let read = |row: &PgRow| {
            let name: String = row.try_get(0)?;
            let bytes: i64 = row.try_get(1)?;
            Ok(Row {
                name: name.into_bytes(),
                bytes: bytes.unsigned_abs(),
            })
        };
        let rows: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        rows.map_err(|error| told(&error))
    }

    async fn read_current(&mut self, bytes_max: usize) -> Result<Updates, SourceError> {
        let Row { name, bytes } = self.pages.current.clone().unwrap_or_default();
        if bytes > bytes_max as u64 {
            return Ok(Err(too_large(bytes, bytes_max)));
        }
        let Quoted {
            table,
            name: column,
            data,
        } = &self.quoted;
        let name_type = &self.name_type;
        let sql = format!(
            "SELECT {data} FROM {table} WHERE {column} = ($1::text)::{name_type} \
             AND {data} IS NOT NULL"
        );
        let rows = query(sql)
            .bind(String::from_utf8_lossy(&name).into_owned())
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| told(&error))?;
        let read = |row: &PgRow| Ok(Bytes::from(row.try_get::<Vec<u8>, _>(0)?));
        let updates: Result<Vec<_>, sqlx::Error> = rows.iter().map(read).collect();
        updates.map(Ok).map_err(|error| told(&error))
    }
}

impl Source for PostgresTable {
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

/// A statement that a proxy which pools transactions takes, too.
fn query(sql: String) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

fn told(error: &sqlx::Error) -> SourceError {
    let told = format!("the PostgreSQL database of the source cannot be read: {error}");
    match error {
        sqlx::Error::Database(_) => SourceError::Refused(told),
        _ => SourceError::Unavailable(told),
    }
}
