//! A batch as one piece of SQL: for proxies that pool transactions.

use std::fmt::Write;

use sqlx::types::Uuid;

use super::super::super::claims::owner_bytes;
use super::super::super::{Append, Claim};
use super::super::claims;
use super::checksum;

/// What an append takes beside its update and its name, as text.
const APPEND_CHARACTERS: usize = 256;

/// The whole statement. All of it is one transaction, as every text of several statements is.
pub(super) fn append_batch(
    limits: &str,
    attempt: Uuid,
    doubtful: &[Uuid],
    batch: &[Append],
    passes_over: bool,
) -> String {
    let updates: usize = batch.iter().map(|one| 2 * one.update.len()).sum();
    let mut sql = String::with_capacity(updates + batch.len() * APPEND_CHARACTERS);
    sql.push_str(limits);
    sql.push_str(" SELECT given_sequence, current_epoch, is_log_lost, is_busy FROM ");
    let claims = claims::of_batch(batch);
    sql.push_str(match claims.is_empty() {
        true => "append_batch(",
        false => "append_batch_with_claims(",
    });
    push_uuid(&mut sql, &attempt);
    sql.push_str("::uuid,");
    array(&mut sql, "uuid", doubtful, push_uuid);
    array(&mut sql, "bytea", batch, |sql, one| {
        push_bytes(sql, one.document.as_str().as_bytes());
    });
    array(&mut sql, "bigint", batch, |sql, one| {
        push_number(sql, one.epoch as i64)
    });
    array(&mut sql, "uuid", batch, |sql, one| {
        push_uuid(sql, &Uuid::from_bytes(one.id))
    });
    array(&mut sql, "text", batch, |sql, one| {
        match &one.origin.identity {
            Some(identity) => push_text(sql, identity),
            None => sql.push_str("NULL"),
        }
    });
    array(&mut sql, "text", batch, |sql, one| {
        push_text(sql, &one.origin.door)
    });
    array(&mut sql, "bigint", batch, |sql, one| {
        push_number(sql, one.time_ms as i64)
    });
    array(&mut sql, "bigint", batch, |sql, one| {
        push_number(sql, i64::from(checksum(one)))
    });
    array(&mut sql, "bytea", batch, |sql, one| {
        push_bytes(sql, &one.update)
    });
    array(&mut sql, "bigint", batch, |sql, one| match one.after {
        Some(after) => push_number(sql, after.sequence as i64),
        None => sql.push_str("NULL"),
    });
    array(&mut sql, "uuid", batch, |sql, one| match one.after {
        Some(after) => push_uuid(sql, &Uuid::from_bytes(after.id)),
        None => sql.push_str("NULL"),
    });
    sql.push_str(if passes_over { "true" } else { "false" });
    if !claims.is_empty() {
        push_claims(&mut sql, &claims);
    }
    sql.push_str(") ORDER BY place");
    sql
}

fn array<T>(sql: &mut String, kind: &str, items: &[T], push: impl Fn(&mut String, &T)) {
    sql.push_str("ARRAY[");
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            sql.push(',');
        }
        push(sql, item);
    }
    // Writing to a string cannot fail.
    let _ = write!(sql, "]::{kind}[],");
}

fn push_claims(sql: &mut String, claims: &[(i64, &Claim)]) {
    sql.push(',');
    array(sql, "bigint", claims, |sql, (place, _)| {
        push_number(sql, *place)
    });
    array(sql, "bigint", claims, |sql, (_, claim)| {
        push_number(sql, claim.client as i64)
    });
    array(sql, "bytea", claims, |sql, (_, claim)| {
        match owner_bytes(claim) {
            Some(owner) => push_bytes(sql, owner),
            None => sql.push_str("NULL"),
        }
    });
    // The comma behind the last of them.
    sql.pop();
}

fn push_number(sql: &mut String, number: i64) {
    let _ = write!(sql, "{number}");
}

fn push_uuid(sql: &mut String, id: &Uuid) {
    let _ = write!(sql, "'{id}'");
}

fn push_bytes(sql: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    sql.push_str("E'\\\\x");
    for byte in bytes {
        sql.push(char::from(DIGITS[usize::from(byte >> 4)]));
        sql.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    sql.push('\'');
}

/// Quoted so that it means the same whatever `standard_conforming_strings` says.
fn push_text(sql: &mut String, text: &str) {
    sql.push_str("E'");
    for character in text.chars() {
        match character {
            '\'' => sql.push_str("''"),
            '\\' => sql.push_str("\\\\"),
            other => sql.push(other),
        }
    }
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_end_a_text() {
        let mut sql = String::new();
        push_text(&mut sql, r"a'b\'c");
        assert_eq!(sql, r"E'a''b\\''c'");
    }

    #[test]
    fn bytes_are_digits() {
        let mut sql = String::new();
        push_bytes(&mut sql, &[0, 0x27, 0xff]);
        assert_eq!(sql, r"E'\\x0027ff'");
    }
}
