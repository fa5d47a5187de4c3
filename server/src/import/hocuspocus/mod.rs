//! Databases of Hocuspocus: a table of names and states, in SQLite or PostgreSQL.
//!
//! `@hocuspocus/extension-sqlite` 4.7 makes `documents (name varchar(255) UNIQUE, data blob)`, with
//! `Y.encodeStateAsUpdate(document)` as the data. With `@hocuspocus/extension-database` the table is the
//! application's own: any that has a column of names and one of updates is read, also with several rows
//! of one name, which are merged.

mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use postgres::PostgresTable;
pub use sqlite::SqliteTable;

/// Names of one page.
const PAGE_NAMES: i64 = 500;

/// Where the documents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The table, also `schema.table`.
    pub table: String,
    /// The column of the names.
    pub name_column: String,
    /// The column of the updates.
    pub data_column: String,
}

impl Table {
    /// As it is written in SQL, in both databases; the table without a schema.
    fn quoted(&self) -> Quoted {
        Quoted {
            table: quote(&self.table),
            name: quote(&self.name_column),
            data: quote(&self.data_column),
        }
    }
}

/// Identifiers for SQL.
#[derive(Debug, Clone)]
struct Quoted {
    table: String,
    name: String,
    data: String,
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A document of a page.
#[derive(Debug, Clone, Default)]
struct Row {
    /// Its name as the database gives it.
    name: Vec<u8>,
    bytes: u64,
}

/// The pages of names, and the one that is read.
#[derive(Debug, Default)]
struct Pages {
    waiting: VecDeque<Row>,
    current: Option<Row>,
    is_at_end: bool,
}

impl Pages {
    /// Where the next page begins: behind this name.
    fn after(&self) -> Option<Vec<u8>> {
        self.current.as_ref().map(|row| row.name.clone())
    }

    /// True when a page is needed.
    fn is_short(&self) -> bool {
        self.waiting.is_empty() && !self.is_at_end
    }

    fn put(&mut self, page: Vec<Row>) {
        self.is_at_end = page.is_empty();
        self.waiting = page.into();
    }

    /// The next name; one that is not UTF-8 is shown as well as can be.
    fn next(&mut self) -> Option<String> {
        let next = self.waiting.pop_front()?;
        let shown = String::from_utf8_lossy(&next.name).into_owned();
        self.current = Some(next);
        Some(shown)
    }
}
