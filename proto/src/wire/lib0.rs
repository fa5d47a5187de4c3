//! lib0 primitives: variable-length numbers, byte strings and text, read with bounds, written plainly.
//!
//! Source: lib0 `encoding.js` and `decoding.js`. A number holds seven bits a byte, little end
//! first, the high bit says that more follow. A byte string is its length and the raw bytes.

use bytes::BufMut;

use super::DecodeError;

/// The largest whole number JavaScript can hold exactly, and so the largest on any Yjs wire.
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Reads lib0 values from a borrowed buffer; never past its end and never allocating.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A reader at byte `position` of `bytes`; behind the end it is merely empty.
    pub fn at(bytes: &'a [u8], position: usize) -> Self {
        Self {
            bytes,
            position: position.min(bytes.len()),
        }
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes between two positions that were read before.
    pub fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = *self
            .bytes
            .get(self.position)
            .ok_or(DecodeError::Truncated)?;
        self.position += 1;
        Ok(byte)
    }

    /// The next `length` bytes as they are.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let end = self
            .position
            .checked_add(length)
            .ok_or(DecodeError::Truncated)?;
        let taken = self
            .bytes
            .get(self.position..end)
            .ok_or(DecodeError::Truncated)?;
        self.position = end;
        Ok(taken)
    }

    /// An unsigned number of at most 64 bits.
    pub fn var_uint(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::NumberTooLarge)
    }

    /// A signed number whose magnitude JavaScript can hold: six bits and a sign in the first byte.
    pub fn var_int(&mut self) -> Result<i64, DecodeError> {
        let first = self.u8()?;
        let mut magnitude = u64::from(first & 0x3f);
        let mut more = first & 0x80 != 0;
        for shift in (6..62).step_by(7) {
            if !more {
                break;
            }
            let byte = self.u8()?;
            magnitude |= u64::from(byte & 0x7f) << shift;
            more = byte & 0x80 != 0;
        }
        if more || magnitude > SAFE_INTEGER_MAX {
            return Err(DecodeError::NumberTooLarge);
        }
        let magnitude = magnitude as i64;
        Ok(if first & 0x40 == 0 {
            magnitude
        } else {
            -magnitude
        })
    }

    /// A byte string: its length, then that many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.var_uint()?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        self.take(length)
    }

    /// A text: a byte string that is valid UTF-8.
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotUtf8)
    }
}

/// Writes an unsigned number.
pub fn put_var_uint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a signed number: six bits and a sign in the first byte.
pub fn put_var_int(out: &mut impl BufMut, value: i64) {
    let mut magnitude = value.unsigned_abs();
    let sign = if value < 0 { 0x40 } else { 0 };
    let more = if magnitude > 0x3f { 0x80 } else { 0 };
    out.put_u8((magnitude as u8 & 0x3f) | sign | more);
    magnitude >>= 6;
    if more != 0 {
        put_var_uint(out, magnitude);
    }
}

/// Writes a byte string: its length, then the bytes.
pub fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_var_uint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Writes a text as the byte string of its UTF-8.
pub fn put_string(out: &mut impl BufMut, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// How many bytes [`put_var_uint`] needs for `value`.
pub fn var_uint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unsigned_numbers_match_lib0() {
        let table: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (127, &[127]),
            (128, &[128, 1]),
            (300, &[172, 2]),
            (SAFE_INTEGER_MAX, &[255, 255, 255, 255, 255, 255, 255, 15]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ];
        for (value, wanted) in table {
            let mut out = Vec::new();
            put_var_uint(&mut out, value);
            assert_eq!(out, wanted);
            assert_eq!(var_uint_len(value), wanted.len());
            assert_eq!(Reader::new(&out).var_uint(), Ok(value));
        }
    }

    #[test]
    fn signed_numbers_match_lib0() {
        let table: [(i64, &[u8]); 5] = [
            (0, &[0]),
            (-1, &[65]),
            (63, &[63]),
            (64, &[128, 1]),
            (-200, &[200, 3]),
        ];
        for (value, wanted) in table {
            let mut out = Vec::new();
            put_var_int(&mut out, value);
            assert_eq!(out, wanted);
            assert_eq!(Reader::new(&out).var_int(), Ok(value));
        }
    }

    #[test]
    fn bad_input_is_named() {
        type Read = fn(&mut Reader<'_>) -> Result<(), DecodeError>;
        let uint: Read = |reader| reader.var_uint().map(drop);
        let int: Read = |reader| reader.var_int().map(drop);
        let string: Read = |reader| reader.string().map(drop);
        let table: [(&[u8], Read, DecodeError); 8] = [
            (&[], uint, DecodeError::Truncated),
            (&[0x80], uint, DecodeError::Truncated),
            (&[0xff; 11], uint, DecodeError::NumberTooLarge),
            (&[0xff; 11], int, DecodeError::NumberTooLarge),
            (&[0xff, 0xff], int, DecodeError::Truncated),
            (&[3, b'a'], string, DecodeError::Truncated),
            (&[0xff; 9], string, DecodeError::Truncated),
            (&[1, 0xff], string, DecodeError::NotUtf8),
        ];
        for (bytes, read, wanted) in table {
            assert_eq!(read(&mut Reader::new(bytes)), Err(wanted), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn values_survive_the_round_trip(
            unsigned: u64,
            signed in -(SAFE_INTEGER_MAX as i64)..=SAFE_INTEGER_MAX as i64,
            text: String,
        ) {
            let mut out = Vec::new();
            put_var_uint(&mut out, unsigned);
            put_var_int(&mut out, signed);
            put_string(&mut out, &text);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.var_uint(), Ok(unsigned));
            prop_assert_eq!(reader.var_int(), Ok(signed));
            prop_assert_eq!(reader.string(), Ok(text.as_str()));
            prop_assert!(reader.is_empty());
        }
    }
}
