//! Statements over many rows, in few fixed sizes so that the prepared ones are reused.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Powers of two up to 512 rows: any number of rows takes at most one statement per bit of it, and
/// the largest stays well below SQLite's 32,766 parameters.
const SIZE_BITS: usize = 10;

/// One statement in all its sizes.
#[derive(Debug)]
pub(super) struct RowStatement([SqlStr; SIZE_BITS]);

impl RowStatement {
    /// `before`, then `row` as often as there are rows, joined by commas, then `after`.
    pub(super) fn new(before: &str, row: &str, after: &str) -> Self {
        Self(std::array::from_fn(|bit| {
            let rows = vec![row; 1 << bit].join(",");
            let text: Arc<str> = format!("{before}{rows}{after}").into();
            AssertSqlSafe(text).into_sql_str()
        }))
    }

    /// Cuts the rows into chunks, each with the statement of its size; the largest first.
    pub(super) fn chunks<'a, T>(
        &'a self,
        rows: &'a [T],
    ) -> impl Iterator<Item = (SqlStr, &'a [T])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let bit = rest.len().checked_ilog2()?.min(SIZE_BITS as u32 - 1);
            let (chunk, tail) = rest.split_at(1 << bit);
            rest = tail;
            Some((self.0[bit as usize].clone(), chunk))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_rows_in_order() {
        let statement = RowStatement::new("VALUES", "(?)", "");
        for length in [0, 1, 2, 3, 511, 512, 513, 1_000, 3_000] {
            let rows: Vec<usize> = (0..length).collect();
            let mut seen = Vec::new();
            for (sql, chunk) in statement.chunks(&rows) {
                assert_eq!(sql.as_str().matches('?').count(), chunk.len());
                seen.extend_from_slice(chunk);
            }
            assert_eq!(seen, rows);
        }
    }
}
