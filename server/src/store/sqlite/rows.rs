//! Statements over many rows, in few fixed sizes so that the prepared ones are reused.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Up to this many rows take one statement: every statement is a way to SQLite's thread and back.
const EXACT_MAX: usize = 16;

/// Then powers of two up to 512 rows: any number of rows takes at most one statement per bit of it,
/// and the largest stays well below SQLite's 32,766 parameters.
const POWERS: [usize; 5] = [32, 64, 128, 256, 512];

/// One statement in all its sizes.
#[derive(Debug)]
pub(super) struct RowStatement([SqlStr; EXACT_MAX + POWERS.len()]);

impl RowStatement {
    /// `before`, then `row` as often as there are rows, joined by commas, then `after`.
    pub(super) fn new(before: &str, row: &str, after: &str) -> Self {
        Self(std::array::from_fn(|place| {
            let size = match place.checked_sub(EXACT_MAX) {
                Some(power) => POWERS.get(power).copied().unwrap_or(1),
                None => place + 1,
            };
            let rows = vec![row; size].join(",");
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
            let (place, size) = largest(rest.len())?;
            let (chunk, tail) = rest.split_at(size);
            rest = tail;
            Some((self.0[place].clone(), chunk))
        })
    }

    /// The statement for a chunk of this many rows.
    pub(super) fn of_chunk<T>(&self, chunk: &[T]) -> Option<SqlStr> {
        let (place, size) = largest(chunk.len())?;
        (size == chunk.len()).then(|| self.0[place].clone())
    }
}

/// The largest size that so many rows fill, and its place; `None` without rows.
fn largest(rows: usize) -> Option<(usize, usize)> {
    if rows <= EXACT_MAX {
        return Some((rows.checked_sub(1)?, rows));
    }
    let power = POWERS.iter().rposition(|size| *size <= rows);
    Some(match power {
        Some(power) => (EXACT_MAX + power, POWERS[power]),
        None => (EXACT_MAX - 1, EXACT_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_rows_in_order() {
        let statement = RowStatement::new("VALUES", "(?)", "");
        for length in [
            0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 511, 512, 513, 1_000, 3_000,
        ] {
            let rows: Vec<usize> = (0..length).collect();
            let mut seen = Vec::new();
            for (sql, chunk) in statement.chunks(&rows) {
                assert_eq!(sql.as_str().matches('?').count(), chunk.len());
                let same = statement.of_chunk(chunk).unwrap();
                assert_eq!(same.as_str(), sql.as_str());
                seen.extend_from_slice(chunk);
            }
            assert_eq!(seen, rows);
        }
    }
}
