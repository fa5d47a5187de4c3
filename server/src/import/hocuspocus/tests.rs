//! Tables as applications make them, on a real PostgreSQL server.
#![allow(clippy::unwrap_used)]

use sqlx::{AssertSqlSafe, Connection as _};

use super::super::tests::block_on;
use super::super::{Source, SourceError};
use super::*;
use crate::store::postgres::tests::server;

/// The documents of a table with this type of names: name and number of updates.
fn documents(name_type: &str, rows: &[(&str, &[u8])]) -> Result<Vec<(String, usize)>, SourceError> {
    block_on(async {
        let url = server::new_database();
        let mut database = sqlx::PgConnection::connect(&url).await.unwrap();
        let create = format!("CREATE TABLE documents (name {name_type}, data bytea)");
        let create = sqlx::query(AssertSqlSafe(create));
        create.execute(&mut database).await.unwrap();
        for (name, data) in rows {
            let insert = sqlx::query("INSERT INTO documents VALUES ($1, $2)");
            let insert = insert.bind(name).bind(*data);
            insert.execute(&mut database).await.unwrap();
        }
        let table = Table {
            table: "documents".to_owned(),
            name_column: "name".to_owned(),
            data_column: "data".to_owned(),
        };
        let mut source = PostgresTable::open(&url, &table).await?;
        let survey = source.survey().await?;
        let mut documents = Vec::new();
        // A reader that does not come to its end is found out.
        while let Some(name) = source
            .next()
            .await?
            .filter(|_| documents.len() <= rows.len())
        {
            let updates = source.read(1_000).await?.unwrap();
            documents.push((name, updates.len()));
        }
        assert_eq!(survey.documents, documents.len() as u64);
        Ok(documents)
    })
}

#[test]
fn names_of_a_fixed_length_are_read_without_their_padding() {
    let rows: [(&str, &[u8]); 4] = [
        ("notes", b"1"),
        ("note", b"2"),
        ("notes", b"3"),
        ("z", b"4"),
    ];
    let wanted =
        [("note", 1), ("notes", 2), ("z", 1)].map(|(name, count)| (name.to_owned(), count));
    for name_type in ["char(20)", "bpchar", "varchar(20)", "text"] {
        assert_eq!(documents(name_type, &rows).unwrap(), wanted, "{name_type}");
    }
}
