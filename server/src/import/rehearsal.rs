//! What a dry run would have written, so that a later document that comes to the same name is judged as
//! in a real run.
//!
//! It is kept in a temporary database of SQLite: in memory while it is small, else in a file without
//! a name, in the folder for temporary files, that is gone with this process.

use bytes::Bytes;
use driftless_proto::name::DocumentName;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// Updates by document, in their order.
#[derive(Debug)]
pub(super) struct Rehearsal {
    connection: SqliteConnection,
}

impl Rehearsal {
    /// One that holds nothing.
    pub(super) async fn start() -> Result<Self, sqlx::Error> {
        // SQLite's name for a temporary database.
        let options = SqliteConnectOptions::new().filename("");
        let connecting = options.disable_statement_logging();
        let mut connection = connecting.connect().await?;
        let schema = "CREATE TABLE planned (place INTEGER PRIMARY KEY, name BLOB, content BLOB); \
                      CREATE INDEX planned_by_name ON planned (name)";
        sqlx::raw_sql(schema).execute(&mut connection).await?;
        Ok(Self { connection })
    }

    /// Notes an update that a real run would have appended.
    pub(super) async fn put(
        &mut self,
        name: &DocumentName,
        update: &Bytes,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO planned (name, content) VALUES (?, ?)")
            .bind(name.as_str().as_bytes())
            .bind(&update[..])
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// What was noted for a document.
    pub(super) async fn updates(&mut self, name: &DocumentName) -> Result<Vec<Bytes>, sqlx::Error> {
        let updates: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT content FROM planned WHERE name = ? ORDER BY place")
                .bind(name.as_str().as_bytes())
                .fetch_all(&mut self.connection)
                .await?;
        Ok(updates.into_iter().map(Bytes::from).collect())
    }

    /// Gives room and file back.
    pub(super) async fn end(self) -> Result<(), sqlx::Error> {
        self.connection.close().await
    }
}
