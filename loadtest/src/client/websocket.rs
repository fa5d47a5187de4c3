//! The client side of WebSocket: the upgrade request, masked frames out, frame headers in.
//!
//! Source: RFC 6455. Every frame is masked with one fixed key: the RFC's reason for fresh keys,
//! confusing proxies, does not apply to a load generator, and a server has to unmask all the same.

/// The key of every masked frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// A frame header without mask: two bytes and at most eight of length.
const HEADER_BYTES_MAX: usize = 10;
/// An answer to the upgrade longer than this is no WebSocket server's.
const UPGRADE_ANSWER_BYTES_MAX: usize = 16 * 1024;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    pub(crate) header_length: usize,
    pub(crate) payload_length: usize,
}

/// The header at the start of `bytes`, or `None` when more bytes are needed. `Err` when a server
/// would never send it: masked, or longer than memory.
#[inline]
pub(crate) fn read_header(bytes: &[u8]) -> Result<Option<FrameHeader>, &'static str> {
    let [first, second, ..] = *bytes else {
        return Ok(None);
    };
    if second & 0x80 != 0 {
        return Err("the server masked a frame");
    }
    let (payload_length, header_length) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..HEADER_BYTES_MAX) {
            Some(&[a, b, c, d, e, f, g, h]) => (
                u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                HEADER_BYTES_MAX,
            ),
            _ => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    Ok(Some(FrameHeader {
        opcode: first & 0x0f,
        is_final: first & 0x80 != 0,
        header_length,
        payload_length: usize::try_from(payload_length).map_err(|_| "a frame is too long")?,
    }))
}

/// Appends one final, masked frame.
#[inline]
pub(crate) fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    for (byte, key) in out[start..].iter_mut().zip(MASK.iter().cycle()) {
        *byte ^= key;
    }
}

/// The first whole frame of a client in `bytes`, unmasked in place: its opcode, its payload, and
/// where it ends. `None` when more bytes are needed.
pub(crate) fn read_client_frame(bytes: &mut [u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    let (length, at) = match second & 0x7f {
        126 => {
            let length: [u8; 2] = bytes.get(2..4)?.try_into().ok()?;
            (usize::from(u16::from_be_bytes(length)), 4)
        }
        127 => {
            let length: [u8; 8] = bytes.get(2..HEADER_BYTES_MAX)?.try_into().ok()?;
            let length = usize::try_from(u64::from_be_bytes(length)).ok()?;
            (length, HEADER_BYTES_MAX)
        }
        length => (usize::from(length), 2),
    };
    let (start, end) = (at + MASK.len(), (at + MASK.len()).checked_add(length)?);
    if bytes.len() < end {
        return None;
    }
    let key: [u8; 4] = bytes.get(at..start)?.try_into().ok()?;
    let payload = bytes.get_mut(start..end)?;
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    Some((first & 0x0f, payload, end))
}

/// The upgrade request for `path` (with query) at `host`.
pub(crate) fn upgrade_request(host: &str, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to an upgrade request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UpgradeAnswer {
    Incomplete,
    /// Accepted; frames begin at this offset.
    Accepted(usize),
    /// Refused, with the status line.
    Refused(String),
}

/// Reads the answer to an upgrade request.
pub(crate) fn read_upgrade_answer(bytes: &[u8]) -> UpgradeAnswer {
    let status_line = || {
        let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
        String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
    };
    match bytes.windows(4).position(|end| end == b"\r\n\r\n") {
        Some(at) if bytes.starts_with(b"HTTP/1.1 101") => UpgradeAnswer::Accepted(at + 4),
        Some(_) => UpgradeAnswer::Refused(status_line()),
        None if bytes.len() > UPGRADE_ANSWER_BYTES_MAX => UpgradeAnswer::Refused(status_line()),
        None => UpgradeAnswer::Incomplete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(opcode: u8, header_length: usize, payload_length: usize) -> Option<FrameHeader> {
        Some(FrameHeader {
            opcode,
            is_final: true,
            header_length,
            payload_length,
        })
    }

    #[test]
    fn headers_of_all_lengths_are_read() {
        assert_eq!(read_header(&[0x82]), Ok(None));
        assert_eq!(read_header(&[0x82, 5]), Ok(header(BINARY, 2, 5)));
        assert_eq!(read_header(&[0x82, 126, 1]), Ok(None));
        assert_eq!(read_header(&[0x82, 126, 1, 0]), Ok(header(BINARY, 4, 256)));
        assert_eq!(read_header(&[0x89, 127, 0, 0, 0, 0, 0, 1, 0]), Ok(None));
        assert_eq!(
            read_header(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            Ok(header(BINARY, 10, 65_536))
        );
        assert!(read_header(&[0x82, 0x85]).is_err());
        assert_eq!(
            read_header(&[0x02, 1]).map(|read| read.map(|header| header.is_final)),
            Ok(Some(false))
        );
    }

    #[test]
    fn frames_are_masked_and_unmask_to_the_payload() {
        for length in [0usize, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut frame = Vec::new();
            push_frame(&mut frame, BINARY, &payload);
            assert_eq!(frame[0], 0x82);
            assert_ne!(frame[1] & 0x80, 0);
            let mut partial = frame[..frame.len() - 1].to_vec();
            assert!(read_client_frame(&mut partial).is_none());
            let mut whole = frame.clone();
            let expected = (BINARY, &payload[..], frame.len());
            assert_eq!(read_client_frame(&mut whole), Some(expected));
            frame[1] &= 0x7f;
            let read = read_header(&frame).unwrap().unwrap();
            assert_eq!(read.payload_length, length);
            let body = &frame[read.header_length + 4..];
            let unmasked: Vec<u8> = body
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(b, k)| b ^ k)
                .collect();
            assert_eq!(unmasked, payload);
        }
    }

    #[test]
    fn upgrade_answers_are_told_apart() {
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x82\x00";
        assert_eq!(
            read_upgrade_answer(accepted),
            UpgradeAnswer::Accepted(accepted.len() - 2)
        );
        assert_eq!(
            read_upgrade_answer(b"HTTP/1.1 404 Not Found\r\n\r\n"),
            UpgradeAnswer::Refused("HTTP/1.1 404 Not Found".to_owned())
        );
        assert_eq!(
            read_upgrade_answer(b"HTTP/1.1 101 Sw"),
            UpgradeAnswer::Incomplete
        );
    }
}
