//! The checks that every reader of untrusted ids, clocks and counts shares.

use super::{CLOCK_MAX, Refusal};
use crate::wire::lib0::{Reader, SAFE_INTEGER_MAX};
use crate::{ClientId, Clock};

/// Reads a client id; below 2^53, since yrs would alias larger ones.
pub(super) fn client(reader: &mut Reader<'_>) -> Result<ClientId, Refusal> {
    match reader.var_uint()? {
        id if id <= SAFE_INTEGER_MAX => Ok(id),
        _ => Err(Refusal::ClientOutOfRange),
    }
}

/// Reads a clock or a length; at most 2^31.
pub(super) fn clock(reader: &mut Reader<'_>) -> Result<Clock, Refusal> {
    match reader.var_uint()? {
        clock if clock <= CLOCK_MAX => Ok(clock as Clock),
        _ => Err(Refusal::ClockOutOfRange),
    }
}

/// Reads the length of something that has to cover at least one clock.
pub(super) fn length(reader: &mut Reader<'_>) -> Result<Clock, Refusal> {
    match clock(reader)? {
        0 => Err(Refusal::Empty),
        length => Ok(length),
    }
}

/// The clock behind a range; at most 2^31.
pub(super) fn end(start: Clock, length: Clock) -> Result<Clock, Refusal> {
    let end = u64::from(start) + u64::from(length);
    if end <= CLOCK_MAX {
        Ok(end as Clock)
    } else {
        Err(Refusal::ClockOutOfRange)
    }
}

/// Reads a count of entries that need at least `entry_bytes_min` bytes each.
pub(super) fn count(reader: &mut Reader<'_>, entry_bytes_min: usize) -> Result<usize, Refusal> {
    let count = reader.var_uint()?;
    if count <= (reader.remaining() / entry_bytes_min) as u64 {
        Ok(count as usize)
    } else {
        Err(Refusal::CountTooLarge)
    }
}
