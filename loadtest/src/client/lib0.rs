//! lib0 primitives as a load generator needs them: variable-length numbers and byte strings.
//!
//! The generator has its own reader on purpose: it must not share a decoder with the server it
//! measures. Source: lib0 `encoding.js` and `decoding.js`.

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ReadError {
    #[error("the bytes end in the middle of a value")]
    Truncated,
    #[error("a number is longer than 64 bits")]
    Overlong,
    #[error("content of kind {0} is not part of any load")]
    UnknownContent(u8),
}

/// Reads lib0 values from a borrowed buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, ReadError> {
        let (first, rest) = self.rest.split_first().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, ReadError> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.byte()?;
            if shift > 63 {
                return Err(ReadError::Overlong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// What was not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// A byte string: its length and the raw bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = usize::try_from(self.number()?).map_err(|_| ReadError::Truncated)?;
        if length > self.rest.len() {
            return Err(ReadError::Truncated);
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }
}

/// Appends a number, seven bits a byte, little end first.
#[inline]
pub(crate) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a byte string.
pub(crate) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_round_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            push_number(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.number(), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn cut_and_overlong_values_are_refused() {
        assert_eq!(Reader::new(&[0x80]).number(), Err(ReadError::Truncated));
        assert_eq!(Reader::new(&[0xff; 12]).number(), Err(ReadError::Overlong));
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(), Err(ReadError::Truncated));
    }
}
