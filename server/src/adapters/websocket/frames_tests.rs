//! RFC 6455 vectors, fragmentation, bounds and bad framing.
#![allow(clippy::unwrap_used)]

use driftless_proto::name::{DocumentName, NameError};
use driftless_proto::wire::{DecodeError, Message};

use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client frame: `first` is FIN, reserved bits and opcode.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

fn read(bytes_max: usize, input: &[u8]) -> Vec<Result<Incoming, FrameError>> {
    let mut reader = FrameReader::new(bytes_max);
    reader.feed(input);
    drain(&mut reader)
}

fn drain(reader: &mut FrameReader) -> Vec<Result<Incoming, FrameError>> {
    let mut all = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(incoming)) => all.push(Ok(incoming)),
            Ok(None) => return all,
            Err(error) => {
                all.push(Err(error));
                return all;
            }
        }
    }
}

fn binary(bytes: &'static [u8]) -> Result<Incoming, FrameError> {
    Ok(Incoming::Binary(Bytes::from_static(bytes)))
}

#[test]
fn the_masked_hello_of_the_rfc_is_understood() {
    // RFC 6455 section 5.7, with the opcode of a text and of a binary message, and its ping.
    let text = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    let mut other = text;
    assert_eq!(read(100, &text), [Ok(Incoming::Text)]);
    other[0] = 0x82;
    assert_eq!(read(100, &other), [binary(b"Hello")]);
    other[0] = 0x89;
    assert_eq!(
        read(100, &other),
        [Ok(Incoming::Ping(Bytes::from_static(b"Hello")))]
    );
    other[0] = 0x8a;
    assert_eq!(
        read(100, &other),
        [Ok(Incoming::Pong(Bytes::from_static(b"Hello")))]
    );
}

#[test]
fn all_ways_to_cut_the_stream_give_the_same_messages() {
    let mut stream = masked(0x82, b"one");
    stream.extend(masked(0x02, b"t"));
    stream.extend(masked(0x89, b"ping"));
    stream.extend(masked(0x00, b"w"));
    stream.extend(masked(0x80, b"o"));
    stream.extend(masked(0x82, &[7; 300]));
    let wanted = read(1_000, &stream);
    assert_eq!(wanted.len(), 4);
    assert_eq!(wanted[2], binary(b"two"));
    for step in 1..stream.len() {
        let mut reader = FrameReader::new(1_000);
        let mut got = Vec::new();
        for part in stream.chunks(step) {
            reader.feed(part);
            got.extend(drain(&mut reader));
        }
        assert_eq!(got, wanted, "in steps of {step}");
    }
}

#[test]
fn nothing_is_held_once_all_is_read() {
    let mut reader = FrameReader::new(1_000);
    reader.feed(&masked(0x82, &[1; 500]));
    assert_eq!(drain(&mut reader).len(), 1);
    assert_eq!((reader.buffer.capacity(), reader.fragments), (0, None));
}

#[test]
fn lengths_of_all_three_sizes_are_read() {
    for length in [0, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload = vec![9; length];
        let got = read(70_000, &masked(0x82, &payload));
        assert_eq!(got, [Ok(Incoming::Binary(payload.into()))], "{length}");
    }
}

#[test]
fn a_message_over_the_bound_is_refused_before_its_payload_comes() {
    let too_large = Err(FrameError::TooLarge { bytes_max: 100 });
    assert_eq!(read(100, &masked(0x82, &[0; 101])[..8]), [too_large]);
    let endless = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(
        read(100, &endless),
        [Err(FrameError::TooLarge { bytes_max: 100 })]
    );
    let mut fragmented = masked(0x02, &[0; 60]);
    fragmented.extend(&masked(0x80, &[0; 41])[..8]);
    assert_eq!(
        read(100, &fragmented),
        [Err(FrameError::TooLarge { bytes_max: 100 })]
    );
}

#[test]
fn framing_against_the_rules_is_refused() {
    let table: [(&str, Vec<u8>); 10] = [
        ("reserved bit 1", masked(0xc2, b"x")),
        ("reserved bit 3", masked(0x92, b"x")),
        ("unmasked", vec![0x82, 0x01, b'x']),
        ("opcode 3", masked(0x83, b"x")),
        ("opcode 15", masked(0x8f, b"x")),
        ("a long ping", masked(0x89, &[0; 126])),
        ("a ping in fragments", masked(0x09, b"x")),
        ("a continuation of nothing", masked(0x80, b"x")),
        (
            "a close code that may not be sent",
            masked(0x88, &1005_u16.to_be_bytes()),
        ),
        ("half a close code", masked(0x88, &[3])),
    ];
    for (what, bytes) in table {
        let got = read(1_000, &bytes);
        assert!(
            matches!(got[..], [Err(FrameError::Protocol(_))]),
            "{what}: {got:?}"
        );
    }
    let mut nested = masked(0x02, b"x");
    nested.extend(masked(0x82, b"y"));
    assert!(matches!(
        read(100, &nested)[..],
        [Err(FrameError::Protocol(_))]
    ));
}

#[test]
fn what_came_before_a_bad_frame_is_given_out() {
    let mut stream = masked(0x82, b"good");
    stream.extend(masked(0xf2, b"bad"));
    let got = read(100, &stream);
    assert_eq!(got[0], binary(b"good"));
    assert!(got[1].is_err());
}

#[test]
fn goodbyes_carry_their_code() {
    let mut payload = 4_001_u16.to_be_bytes().to_vec();
    payload.extend_from_slice("später".as_bytes());
    assert_eq!(
        read(100, &masked(0x88, &payload)),
        [Ok(Incoming::Close(Some(4_001)))]
    );
    assert_eq!(read(100, &masked(0x88, b"")), [Ok(Incoming::Close(None))]);
}

/// Writes presence entries as they are; reads nothing.
struct Plain;

impl Dialect for Plain {
    const NAME: &'static str = "plain";
    const ANSWERS_WRITES: bool = false;
    type Messages = std::iter::Empty<Result<Message, DecodeError>>;

    fn document(rest: &str) -> Result<DocumentName, NameError> {
        DocumentName::from_raw_path(rest)
    }

    fn messages(_: Bytes) -> Self::Messages {
        std::iter::empty()
    }

    fn encode(message: &Outbound, into: &mut BytesMut) {
        if let Outbound::Presence { entries } = message {
            into.extend_from_slice(entries);
        }
    }
}

#[test]
fn server_frames_have_the_shortest_head_that_fits() {
    let table: [(usize, &[u8]); 6] = [
        (1, &[0x82, 1]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (70_000, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
    ];
    for (length, head) in table {
        let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let mut frame = BytesMut::from(&b"before"[..]);
        let message = Outbound::Presence {
            entries: payload.clone().into(),
        };
        encode_frame::<Plain>(&[], &message, &mut frame);
        let frame = &frame[6..];
        assert_eq!(&frame[..head.len()], head, "{length}");
        assert!(frame[head.len()..] == payload, "{length}");
    }
}

#[test]
fn a_close_text_is_cut_between_characters() {
    let frame = close_frame(4_400, &"ü".repeat(100));
    assert_eq!(&frame[..4], [0x88, 124, 0x11, 0x30]);
    assert_eq!(std::str::from_utf8(&frame[4..]).unwrap(), "ü".repeat(61));
}
