//! Content of Yjs before 13: values as JSON texts, rewritten as the values that Yjs writes today.
//!
//! Yjs 13 still carries such content of old documents along. yrs 0.28.1 reads it wrongly (it expects
//! one text more than there are), so it is admitted as what it means.

use bytes::Bytes;

use super::Refusal;
use super::content::{ANY, JSON};
use super::scan::{Scan, scan};
use super::write::rewrite;
use crate::wire::lib0::{Reader, put_string, put_var_int, put_var_uint};

/// The largest whole number that lib0 writes as an integer.
const INTEGER_MAX: i64 = 0x7fff_ffff;

/// Scans an update and gives both as they are to be read on: with all JSON content as values.
pub(super) fn scan_with_values(
    update: &Bytes,
    nesting_max: usize,
) -> Result<(Bytes, Scan), Refusal> {
    let parts = scan(update, nesting_max)?;
    if !parts.has_json {
        return Ok((update.clone(), parts));
    }
    let update = with_values(update, &parts)?;
    let parts = scan(&update, nesting_max)?;
    Ok((update, parts))
}

/// The same update with all JSON content as values. `parts` is the scan of `update`.
fn with_values(update: &Bytes, parts: &Scan) -> Result<Bytes, Refusal> {
    rewrite(update, parts, |read, out| {
        if read.kind != JSON {
            return Ok(false);
        }
        read.write_with_content(update, ANY, out, put_values)?;
        Ok(true)
    })
}

fn put_values(texts: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let count = texts.var_uint()?;
    put_var_uint(out, count);
    for _ in 0..count {
        match texts.string()? {
            "undefined" => out.push(127),
            text => {
                let value = serde_json::from_str(text).map_err(|_| Refusal::InvalidJson)?;
                put_value(out, &value);
            }
        }
    }
    Ok(())
}

/// Writes a value as lib0's `writeAny` does. The depth was checked by the scan.
fn put_value(out: &mut Vec<u8>, value: &serde_json::Value) {
    match value {
        serde_json::Value::Null => out.push(126),
        serde_json::Value::Bool(false) => out.push(121),
        serde_json::Value::Bool(true) => out.push(120),
        serde_json::Value::Number(number) => put_number(out, number),
        serde_json::Value::String(text) => {
            out.push(119);
            put_string(out, text);
        }
        serde_json::Value::Array(values) => {
            out.push(117);
            put_var_uint(out, values.len() as u64);
            for value in values {
                put_value(out, value);
            }
        }
        serde_json::Value::Object(entries) => {
            out.push(118);
            put_var_uint(out, entries.len() as u64);
            for (key, value) in entries {
                put_string(out, key);
                put_value(out, value);
            }
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: &serde_json::Number) {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if (-INTEGER_MAX..=INTEGER_MAX).contains(&whole) => {
            out.push(125);
            put_var_int(out, whole);
        }
        (_, Some(float)) if f64::from(float as f32) == float => {
            out.push(124);
            out.extend_from_slice(&(float as f32).to_be_bytes());
        }
        (_, float) => {
            out.push(123);
            out.extend_from_slice(&float.unwrap_or(f64::NAN).to_be_bytes());
        }
    }
}
