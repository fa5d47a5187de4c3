//! Table tests of admission: what is refused, what is a gap, what is trimmed, byte for byte.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;

use super::*;
use crate::{ClientId, Clock, wire::DecodeError};

const LIMITS: Limits = Limits {
    update_bytes_max: 1 << 20,
    nesting_max: 64,
    gap_clients_max: GAP_CLIENTS_MAX,
};

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn admit_hex(update: &str, known: &mut Known) -> Result<Admission, Refusal> {
    admit(&hex(update), known, None, &LIMITS)
}

/// A replica that holds "hi" of client 1 in the text "t".
fn holding_hi() -> Known {
    let mut known = Known::default();
    admit_hex("01 0101 00 04 01 0174 02 6869 00", &mut known).unwrap();
    known
}

fn admitted(admission: &Admission) -> Option<&Bytes> {
    admission.admitted.as_ref().map(|admitted| &admitted.update)
}

fn wants(admission: &Admission) -> Vec<(ClientId, Clock)> {
    let gap = admission.gap.as_ref();
    gap.map_or(vec![], |gap| gap.wants.clone())
}

#[test]
fn a_whole_update_is_admitted_as_it_is() {
    let update = hex("010101000401017402686900");
    let mut known = Known::default();
    let admission = admit(&update, &mut known, None, &LIMITS).unwrap();
    let part = admission.admitted.unwrap();
    assert_eq!(part.update.as_ptr(), update.as_ptr(), "no copy");
    assert_eq!(
        part.advances,
        [Advance {
            client: 1,
            from: 0,
            to: 2
        }]
    );
    assert_eq!(admission.gap, None);
    assert_eq!(known.vector.get(1), 2);

    let again = admit(&update, &mut known, None, &LIMITS).unwrap();
    assert!(again.admitted.is_none() && again.gap.is_none());
}

/// (name, update after "hi" of client 1, what is admitted, what is wanted)
type Case = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [(ClientId, Clock)],
);

#[test]
fn overlap_is_trimmed_and_gaps_are_named() {
    let table: [Case; 11] = [
        ("nothing", "0000", None, &[]),
        (
            "overlap: the tail hangs on what is held",
            "01 0101 00 04 01 0174 04 68696a6b 00",
            Some("01 0101 02 84 0101 02 6a6b 00"),
            &[],
        ),
        (
            "half a surrogate pair becomes U+FFFD",
            "01 0101 00 04 01 0174 06 68f09f988061 00",
            Some("01 0101 02 84 0101 04 efbfbd61 00"),
            &[],
        ),
        (
            "a run behind a Skip is a gap",
            "01 0301 02 84 0101 01 61 0a 05 84 0107 01 62 00",
            Some("01 0101 02 84 0101 01 61 00"),
            &[(1, 9)],
        ),
        (
            "a Skip over what is held is none",
            "01 0201 00 0a 02 84 0101 01 61 00",
            Some("01 0101 02 84 0101 01 61 00"),
            &[],
        ),
        (
            "a missing origin is a gap of who needs it",
            "01 0102 00 84 0105 01 61 00",
            None,
            &[(2, 1)],
        ),
        (
            "a missing right origin too",
            "01 0102 00 44 0301 01 61 00",
            None,
            &[(2, 1)],
        ),
        (
            "an origin in the same update is met, in any order of clients",
            "02 0102 00 84 0102 01 61 0101 02 84 0101 01 62 00",
            Some("02 0102 00 84 0102 01 61 0101 02 84 0101 01 62 00"),
            &[],
        ),
        (
            "deletes of ids that are here are taken",
            "00 01 01 01 01 04",
            Some("00 01 01 01 01 01"),
            &[(1, 5)],
        ),
        (
            "a client listed twice in the deletes is listed once",
            "00 02 01 01 00 01 01 01 01 01",
            Some("00 01 01 01 00 02"),
            &[],
        ),
        (
            "deletes of unknown clients are gaps",
            "00 01 09 01 00 02",
            None,
            &[(9, 2)],
        ),
    ];
    for (name, update, wanted, gap) in table {
        let mut known = holding_hi();
        let admission = admit_hex(update, &mut known).unwrap();
        assert_eq!(admitted(&admission), wanted.map(hex).as_ref(), "{name}");
        assert_eq!(wants(&admission), gap, "{name}");
    }
}

#[test]
fn two_that_wait_for_each_other_are_a_gap() {
    let update = "02 0103 00 84 0200 01 61 0102 00 84 0300 01 62 00";
    let mut known = holding_hi();
    let admission = admit_hex(update, &mut known).unwrap();
    assert!(admission.admitted.is_none());
    assert_eq!(wants(&admission), [(2, 1), (3, 1)]);
    assert_eq!(known.vector, holding_hi().vector);
}

#[test]
fn known_deletes_are_dropped() {
    let mut known = holding_hi();
    let first = admit_hex("00 01 01 01 00 01", &mut known).unwrap();
    assert_eq!(admitted(&first), Some(&hex("00 01 01 01 00 01")));
    let second = admit_hex("00 01 01 01 00 02", &mut known).unwrap();
    assert_eq!(admitted(&second), Some(&hex("00 01 01 01 01 01")));
    let third = admit_hex("00 01 01 01 00 02", &mut known).unwrap();
    assert!(third.admitted.is_none() && third.gap.is_none());
}

/// (name, update after "hi" of client 1, the refusal)
const DISHONEST: [(&str, &str, Refusal); 27] = [
    (
        "nothing at all",
        "",
        Refusal::Malformed(DecodeError::Truncated),
    ),
    (
        "no delete set",
        "00",
        Refusal::Malformed(DecodeError::Truncated),
    ),
    (
        "left over",
        "000000",
        Refusal::Malformed(DecodeError::TrailingBytes),
    ),
    ("varuint 10^8 clients", "80c2d72f", Refusal::CountTooLarge),
    (
        "too many structs",
        "01 7f01 00 00 01 00",
        Refusal::CountTooLarge,
    ),
    (
        "client 2^53",
        "01 0180808080808080 10 00 00 01 00",
        Refusal::ClientOutOfRange,
    ),
    (
        "clock over 2^31",
        "01 0101 8080808008 00 01 00",
        Refusal::ClockOutOfRange,
    ),
    (
        "client twice",
        "02 0102 00 00 01 0102 01 00 01 00",
        Refusal::DuplicateClient,
    ),
    ("empty GC", "01 0102 00 00 00 00", Refusal::Empty),
    (
        "empty string",
        "01 0102 00 04 01 0174 00 00",
        Refusal::Empty,
    ),
    ("empty delete", "00 01 01 01 00 00", Refusal::Empty),
    (
        "GC with an origin bit",
        "01 0102 00 80 0101 01 00",
        Refusal::UnknownKind,
    ),
    (
        "content 11",
        "01 0102 00 0b 01 0174 01 00",
        Refusal::UnknownKind,
    ),
    (
        "parent info 2",
        "01 0102 00 04 02 0174 01 61 00",
        Refusal::UnknownKind,
    ),
    (
        "type 5, XML hook",
        "01 0102 00 07 01 0174 05 00",
        Refusal::UnknownKind,
    ),
    (
        "type 7, weak link",
        "01 0102 00 07 01 0174 07 00",
        Refusal::UnknownKind,
    ),
    (
        "type 15",
        "01 0102 00 07 01 0174 0f 00",
        Refusal::UnknownKind,
    ),
    (
        "a subdocument without options, on which Yjs throws",
        "01 0102 00 09 01 0174 01 67 7f 00",
        Refusal::UnknownKind,
    ),
    (
        "any tag 0",
        "01 0102 00 08 01 0174 01 00 00",
        Refusal::UnknownKind,
    ),
    (
        "any count",
        "01 0102 00 08 01 0174 7f 7f 00",
        Refusal::CountTooLarge,
    ),
    (
        "bad JSON",
        "01 0102 00 05 01 0174 02 7b5b 00",
        Refusal::InvalidJson,
    ),
    (
        "undefined as JSON",
        "01 0102 00 05 01 0174 09 756e646566696e6564 00",
        Refusal::InvalidJson,
    ),
    (
        "not UTF-8",
        "01 0102 00 04 01 0174 01 ff 00",
        Refusal::Malformed(DecodeError::NotUtf8),
    ),
    (
        "own future",
        "01 0102 00 84 0200 01 61 00",
        Refusal::OwnFuture,
    ),
    (
        "a parent that is text",
        "01 0102 00 04 00 0100 01 61 00",
        Refusal::ParentNotAType,
    ),
    (
        "neighbours of two roots",
        "01 0202 00 04 01 0175 01 61 c4 0100 0200 01 62 00",
        Refusal::TornNeighbours,
    ),
    (
        "neighbours in a list and a key",
        "01 0202 00 24 01 0174 016b 01 61 c4 0100 0200 01 62 00",
        Refusal::TornNeighbours,
    ),
];

#[test]
fn what_no_honest_peer_sends_is_refused_and_changes_nothing() {
    for (name, update, wanted) in DISHONEST {
        let mut known = holding_hi();
        let got = admit_hex(update, &mut known);
        assert_eq!(got.err(), Some(wanted), "{name}");
        assert_eq!(known.vector, holding_hi().vector, "{name}");
        let next = admit_hex("01 0102 00 04 01 0175 01 61 00", &mut known).unwrap();
        assert!(
            next.admitted.is_some(),
            "{name}: the next one is judged afresh"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let arrays = |depth: usize| {
        let mut update = vec![1, 1, 5, 0, 8, 1, 1, b'a', 1];
        update.extend([117, 1].repeat(depth));
        update.extend([126, 0]);
        Bytes::from(update)
    };
    let json = |depth: usize| {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let mut update = vec![1, 1, 5, 0, 5, 1, 1, b'a'];
        crate::wire::lib0::put_string(&mut update, &text);
        update.push(0);
        Bytes::from(update)
    };
    let types = |depth: u8| {
        let mut update = vec![1];
        crate::wire::lib0::put_var_uint(&mut update, u64::from(depth) * 2);
        update.extend([5, 0]);
        for level in 0..depth {
            let parent = |update: &mut Vec<u8>| match level {
                0 => update.extend([1, 1, b'a']),
                _ => {
                    update.extend([0, 5]);
                    crate::wire::lib0::put_var_uint(update, u64::from(level) * 2 - 1);
                }
            };
            // A text first, so that the type has its place from a neighbour.
            update.push(4);
            parent(&mut update);
            update.extend([1, b'x', 0x87, 5]);
            crate::wire::lib0::put_var_uint(&mut update, u64::from(level) * 2);
            update.push(0);
        }
        update.push(0);
        Bytes::from(update)
    };
    let table = [
        ("any", arrays(64), true),
        ("any", arrays(65), false),
        ("any", arrays(8000), false),
        ("json", json(64), true),
        ("json", json(65), false),
        ("json", json(100_000), false),
        ("types", types(255), true),
    ];
    for (name, update, fits) in table {
        let got = admit(&update, &mut Known::default(), None, &LIMITS);
        let refusal = got.err();
        let wanted = (!fits).then_some(Refusal::NestedTooDeep);
        assert_eq!(refusal, wanted, "{name}, {} bytes", update.len());
    }
}

#[test]
fn the_update_that_bricks_a_document_is_kept_out() {
    let update: [u8; 27] = [
        1, 2, 3, 11, 2, 3, 11, 39, 1, 1, 109, 4, 110, 127, 115, 116, 1, 40, 0, 3, 11, 1, 122, 1,
        125, 1, 0,
    ];
    let mut known = Known::default();
    assert!(admit(&Bytes::copy_from_slice(&update), &mut known, None, &LIMITS).is_err());
}

#[test]
fn the_use_after_free_vectors_are_kept_out() {
    let twice = "020402000701017803017007000200060400020103686579280002000163017701640102002801016d026b30\
                 017b41d3cf39c380000b0000";
    assert!(admit_hex(twice, &mut Known::default()).is_err());

    let gap = "0101030a040101740768f09f9880766f00";
    let overlap = "0303030804010174016884030804f09f988084030a026c6f010211c4020302050768f09f98806c6f0d01\
                   00040101740568f09f9880840102026c6fc60102010301620474727565c6030803090162046e756c6c28\
                   01016d026b33017b41ef2243376000002701016d046e6573740128000108017a017d012801016d026b32\
                   017b41db23e45c4000004401000568f09f9880c4010d0100026c6f46010b01620474727565c6010d010e\
                   0162046e756c6c880107017b41be6a10d0000000020101070103010902";
    let mut known = Known::default();
    let first = admit_hex(gap, &mut known).unwrap();
    assert!(first.admitted.is_none());
    assert_eq!(wants(&first), [(3, 15)]);
    if let Ok(second) = admit_hex(overlap, &mut known) {
        assert!(second.gap.is_some(), "clients 2 and 3 lack their beginning");
        assert_eq!((known.vector.get(2), known.vector.get(3)), (0, 0));
    }
}

#[test]
fn old_epochs_are_refused() {
    let tombstone: StateVector = [(1, 2)].into_iter().collect();
    let table = [
        ("010101000401017402686900", true),
        ("00 01 01 01 01 01", true),
        ("01 0102 00 04 01 0175 01 61 00", false),
        ("01 0201 00 0a 02 04 01 0175 01 61 00", false),
    ];
    for (update, is_old) in table {
        let got = admit(
            &hex(update),
            &mut Known::default(),
            Some(&tombstone),
            &LIMITS,
        );
        assert_eq!(got.err() == Some(Refusal::Deleted), is_old, "{update}");
    }
}

#[test]
fn json_content_of_old_documents_is_admitted_as_values() {
    // ["undefined", "1", "{\"a\":[0.5]}"] in the array "t".
    let update =
        "01 0102 00 02 01 0174 03 09 756e646566696e6564 01 31 0b 7b2261223a5b302e355d7d 00";
    let wanted = "01 0102 00 08 01 0174 03 7f 7d01 76 01 0161 75 01 7c3f000000 00";
    let mut known = Known::default();
    let admission = admit_hex(update, &mut known).unwrap();
    assert_eq!(admitted(&admission), Some(&hex(wanted)));
    assert_eq!(known.vector.get(2), 3);
}

#[test]
fn a_state_with_a_hole_is_not_complete() {
    let table = [
        ("010101000401017402686900", Ok(2)),
        ("0000", Ok(0)),
        ("010101010401017402686900", Err(Refusal::Incomplete)),
        (
            "01 0201 00 0a 02 04 01 0174 01 61 00",
            Err(Refusal::Incomplete),
        ),
        ("00 01 01 01 00 01", Err(Refusal::Incomplete)),
    ];
    for (state, wanted) in table {
        let known = known_of(&hex(state));
        assert_eq!(known.map(|known| known.vector.get(1)), wanted, "{state}");
    }
}

#[test]
fn typing_is_joined_when_there_is_much_of_it() {
    let typed = |count: u8| {
        let mut update = vec![1, count, 2, 0, 4, 1, 1, b't', 1, b'a'];
        for clock in 1..count {
            update.extend([0x84, 2, clock - 1, 1, b'a' + clock]);
        }
        update.push(0);
        Bytes::from(update)
    };
    let few = typed(10);
    let part = admit(&few, &mut Known::default(), None, &LIMITS)
        .unwrap()
        .admitted
        .unwrap();
    assert_eq!(part.update, few, "a few stay as they are");

    let part = admit(&typed(20), &mut Known::default(), None, &LIMITS)
        .unwrap()
        .admitted
        .unwrap();
    let joined = hex("01 0102 00 04 01 0174 14 6162636465666768696a6b6c6d6e6f7071727374 00");
    assert_eq!(part.update, joined);
}

#[test]
fn merging_joins_typing_but_not_the_values_of_a_key() {
    let table = [
        (
            [
                "01 0102 00 04 01 0174 01 61 00",
                "01 0102 01 84 0200 01 62 00",
            ],
            "01 0102 00 04 01 0174 02 6162 00",
        ),
        (
            [
                "01 0102 00 28 01 0174 016b 01 7e 00",
                "01 0102 01 a8 0200 01 7f 01 02 01 00 01",
            ],
            "01 0202 00 28 01 0174 016b 01 7e a8 0200 01 7f 01 02 01 00 01",
        ),
        (
            [
                "01 0102 00 04 01 0174 01 61 00",
                "01 0102 01 44 0200 01 62 00",
            ],
            "01 0202 00 04 01 0174 01 61 44 0200 01 62 00",
        ),
    ];
    for (updates, wanted) in table {
        let mut known = Known::default();
        let admit = |update| admit_hex(update, &mut known).unwrap().admitted.unwrap();
        assert_eq!(merge(&updates.map(admit)), hex(wanted));
    }
}
