//! WebSocket frames as a client writes them, right and wrong.

use crate::support::random::Random;

pub(crate) const BINARY: u8 = 2;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// One frame: its first byte and its masked payload.
pub(crate) fn frame(random: &mut Random, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(MASKED | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = (random.bits() as u32).to_be_bytes();
    frame.extend_from_slice(&mask);
    let masks = mask.iter().cycle();
    frame.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    frame
}

/// One whole binary message in one frame.
pub(crate) fn message(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    frame(random, FINAL | BINARY, payload)
}

/// A message in several frames, with pings between them now and then.
pub(crate) fn fragments(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = payload;
    let count = 2 + random.index(4);
    for index in 0..count {
        let is_last = index + 1 == count;
        let take = if is_last {
            rest.len()
        } else {
            random.index(rest.len() + 1)
        };
        let (part, tail) = rest.split_at(take);
        rest = tail;
        let opcode = if index == 0 { BINARY } else { 0 };
        let first = opcode | if is_last { FINAL } else { 0 };
        bytes.extend(frame(random, first, part));
        if !is_last && random.one_in(3) {
            bytes.extend(frame(random, FINAL | 9, b"in between"));
        }
    }
    bytes
}

/// A control frame that is allowed; now and then the answer to the ping before the first message, whether
/// or not that has come.
pub(crate) fn control(random: &mut Random) -> Vec<u8> {
    if random.one_in(4) {
        return frame(random, FINAL | 10, b"first");
    }
    let payload = vec![b'p'; random.index(126)];
    let opcode = *random.pick(&[9, 9, 10]);
    frame(random, FINAL | opcode, &payload)
}

/// A goodbye, mostly in order.
pub(crate) fn goodbye(random: &mut Random) -> Vec<u8> {
    let codes: [u16; 8] = [1000, 1000, 1001, 1005, 1006, 4000, 0, 65_535];
    let mut payload = random.pick(&codes).to_be_bytes().to_vec();
    match random.below(6) {
        0 => payload.clear(),
        1 => payload.truncate(1),
        2 => payload.extend_from_slice(&[0xff, 0xfe]),
        3 => payload.extend_from_slice(b"bye"),
        _ => {}
    }
    frame(random, FINAL | 8, &payload)
}

/// A message in a frame that breaks a rule of RFC 6455, or nearly does.
pub(crate) fn broken(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    match random.below(10) {
        0 => frame(random, FINAL | 1, payload),
        1 => frame(random, FINAL | BINARY | 0x40, payload),
        2 => {
            let opcode = *random.pick(&[3, 7, 11, 15]);
            frame(random, FINAL | opcode, payload)
        }
        3 => frame(random, FINAL, payload),
        4 => {
            let mut bytes = frame(random, BINARY, payload);
            bytes.extend(message(random, payload));
            bytes
        }
        5 => frame(random, 9, payload),
        6 => {
            let long = vec![1; 126 + random.index(200)];
            frame(random, FINAL | 9, &long)
        }
        7 => {
            let mut bytes = message(random, payload);
            bytes[1] &= !MASKED;
            bytes
        }
        8 => {
            let mut bytes = message(random, payload);
            bytes[1] = MASKED | random.below(128) as u8;
            bytes
        }
        _ => {
            let length = (random.bits() >> random.below(64)).to_be_bytes();
            let mut bytes = vec![FINAL | BINARY, MASKED | 127];
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(payload);
            bytes
        }
    }
}
