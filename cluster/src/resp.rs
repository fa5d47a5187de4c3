//! Loses single pub/sub messages out of what a Redis server sends, and nothing else.

/// A value longer than this is passed on unread: nothing a bus sends.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Values within values; what nests deeper is passed on unread.
const DEPTH_MAX: usize = 8;

/// How a pushed message begins, in both versions of the protocol.
const MESSAGES: [&[u8]; 2] = [b"*3\r\n$7\r\nmessage\r\n", b">3\r\n$7\r\nmessage\r\n"];

/// What values begin with.
const KINDS: &[u8] = b"+-:_,#($=!*>~%";

/// One connection's bytes from the server.
#[derive(Debug, Default)]
pub(crate) struct Lossy {
    /// The beginning of a value whose end has not come yet.
    part: Vec<u8>,
    dice: fastrand::Rng,
    /// Something came that is no RESP: everything passes.
    is_foreign: bool,
}

impl Lossy {
    /// Returns what arrives of `bytes` when of a thousand messages `lost_per_mille` vanish.
    pub(crate) fn pass(&mut self, bytes: &[u8], lost_per_mille: u16) -> Vec<u8> {
        let mut bytes = [std::mem::take(&mut self.part), bytes.to_vec()].concat();
        if self.is_foreign {
            return bytes;
        }
        let mut arrives = Vec::with_capacity(bytes.len());
        let mut at = 0;
        loop {
            match value_end(&bytes, at, DEPTH_MAX) {
                Parsed::Whole(end) => {
                    let value = &bytes[at..end];
                    let is_message = MESSAGES.iter().any(|begin| value.starts_with(begin));
                    if !(is_message && self.dice.u16(..1_000) < lost_per_mille) {
                        arrives.extend_from_slice(value);
                    }
                    at = end;
                }
                Parsed::Cut if bytes.len() - at <= VALUE_BYTES_MAX => {
                    self.part = bytes.split_off(at);
                    return arrives;
                }
                Parsed::Cut | Parsed::Foreign => {
                    self.is_foreign = true;
                    arrives.extend_from_slice(&bytes[at..]);
                    return arrives;
                }
            }
        }
    }
}

enum Parsed {
    /// The value ends here.
    Whole(usize),
    /// More bytes are needed.
    Cut,
    /// This is no RESP.
    Foreign,
}

/// Where the value that begins at `at` ends.
fn value_end(bytes: &[u8], at: usize, depth: usize) -> Parsed {
    let rest = &bytes[at.min(bytes.len())..];
    // At the first byte: another protocol may not send a second one before it is answered.
    if rest.first().is_some_and(|kind| !KINDS.contains(kind)) {
        return Parsed::Foreign;
    }
    let Some(line) = rest.windows(2).position(|end| end == b"\r\n") else {
        return Parsed::Cut;
    };
    let body = at + line + 2;
    let number = || {
        std::str::from_utf8(&rest[1..line])
            .ok()?
            .parse::<i64>()
            .ok()
    };
    match rest.first() {
        Some(b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') => Parsed::Whole(body),
        Some(b'$' | b'=' | b'!') => match number().map(usize::try_from) {
            // Minus one: no value.
            Some(Err(_)) => Parsed::Whole(body),
            Some(Ok(length)) if body + length + 2 <= bytes.len() => {
                Parsed::Whole(body + length + 2)
            }
            Some(Ok(_)) => Parsed::Cut,
            None => Parsed::Foreign,
        },
        Some(kind @ (b'*' | b'>' | b'~' | b'%')) if depth > 0 => {
            let Some(count) = number() else {
                return Parsed::Foreign;
            };
            let count = if *kind == b'%' { count * 2 } else { count };
            let mut end = body;
            for _ in 0..count {
                match value_end(bytes, end, depth - 1) {
                    Parsed::Whole(next) => end = next,
                    other => return other,
                }
            }
            Parsed::Whole(end)
        }
        _ => Parsed::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n\r\n\r\n\r\n";
    const OTHER: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";

    #[test]
    fn only_messages_vanish() {
        let all = [OTHER, MESSAGE, b"+PONG\r\n", MESSAGE].concat();
        assert_eq!(Lossy::default().pass(&all, 0), all);
        let left = [OTHER, b"+PONG\r\n"].concat();
        assert_eq!(Lossy::default().pass(&all, 1_000), left);
    }

    #[test]
    fn values_may_come_in_pieces() {
        let all = [OTHER, MESSAGE, b"$-1\r\n"].concat();
        let mut lossy = Lossy::default();
        let arrived: Vec<u8> = all
            .iter()
            .flat_map(|byte| lossy.pass(&[*byte], 1_000))
            .collect();
        assert_eq!(arrived, [OTHER, b"$-1\r\n"].concat());
    }

    #[test]
    fn what_is_no_resp_passes() {
        let mut lossy = Lossy::default();
        assert_eq!(lossy.pass(b"N", 1_000), b"N");
        assert_eq!(lossy.pass(MESSAGE, 1_000), MESSAGE);
    }
}
