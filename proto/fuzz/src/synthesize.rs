//! Makes structs that fit a replica's state vector, so that many pass admission and reach yrs.

use crate::model::{Content, Id, ItemModel, ParentModel, SectionModel, StructModel, UpdateModel};
use crate::support::random::Random;

const ROOTS: [&str; 5] = ["text", "map", "array", "xml", "other"];
const KEYS: [&str; 3] = ["k1", "k2", ""];
const TEXTS: [&str; 8] = ["a", "bc", "hello", "😀", "x😀y", "ä", "\u{fffd}", "😀😀"];
const JSON: [&str; 9] = [
    "true",
    "null",
    "\"red\"",
    "{\"a\":[1,2.5,{}]}",
    "-0.0",
    "1e300",
    "18446744073709551615",
    "\"\\ud83d\"",
    "[]",
];

/// What a replica holds: clients and clocks, none of them 0.
pub type Held = Vec<(u64, u32)>;

/// An id that the replica holds, mostly; sometimes one at or beyond an edge.
pub fn id(random: &mut Random, held: &Held) -> Id {
    if held.is_empty() || random.one_in(40) {
        return (random.below(6), random.below(12) as u32);
    }
    let (client, clock) = *random.pick(held);
    let at = match random.below(4) {
        0 => clock.saturating_sub(1),
        1 => 0,
        _ => random.below(u64::from(clock)) as u32,
    };
    (client, at + u32::from(random.one_in(40)))
}

/// An update of one to three clients that continues what the replica holds.
pub fn update(random: &mut Random, held: &Held) -> UpdateModel {
    let mut model = UpdateModel::default();
    let mut held = held.clone();
    for _ in 0..=random.below(3) {
        let client = match random.one_in(3) || held.is_empty() {
            true => random.below(6),
            false => random.pick(&held).0,
        };
        if model
            .sections
            .iter()
            .any(|section| section.client == client)
        {
            continue;
        }
        let clock = held
            .iter()
            .find(|entry| entry.0 == client)
            .map_or(0, |entry| entry.1);
        let mut section = SectionModel {
            client,
            clock,
            structs: Vec::new(),
        };
        let mut end = clock;
        // Long runs of typing are joined on admission.
        let (count, typing) = match random.below(20) {
            0 => (16 + random.below(16), true),
            _ => (1 + random.below(5), false),
        };
        for index in 0..count {
            let made = match typing && index > 0 && !random.one_in(40) {
                true => typed(random, (client, end - 1)),
                false => structure(random, &held, (client, end)),
            };
            end += made.length();
            section.structs.push(made);
            held.retain(|entry| entry.0 != client);
            held.push((client, end));
        }
        model.sections.push(section);
    }
    for _ in 0..random.below(3) {
        let (client, start) = id(random, &held);
        let length = 1 + random.below(5) as u32;
        model.deletes.push((client, vec![(start, length)]));
    }
    model
}

/// A struct that was typed right behind `left`.
fn typed(random: &mut Random, left: Id) -> StructModel {
    StructModel::Item(ItemModel {
        origin: Some(left),
        right: None,
        parent: ParentModel::Root(String::new()),
        key: None,
        content: match random.one_in(3) {
            true => Content::Any(vec![any(random)]),
            false => Content::Text((*random.pick(&TEXTS)).to_owned()),
        },
    })
}

/// A struct at `at`, with neighbours that the replica holds.
pub fn structure(random: &mut Random, held: &Held, at: Id) -> StructModel {
    if random.one_in(20) {
        return StructModel::Gc(1 + random.below(4) as u32);
    }
    let mut item = ItemModel {
        origin: None,
        right: None,
        parent: parent(random, held),
        key: random.one_in(3).then(|| (*random.pick(&KEYS)).to_owned()),
        content: content(random),
    };
    match random.below(6) {
        0 | 1 => {}
        2 => item.origin = Some(id(random, held)),
        3 => item.right = Some(id(random, held)),
        4 if at.1 > 0 => item.origin = Some((at.0, at.1 - 1)),
        _ => {
            let near = id(random, held);
            item.origin = Some(near);
            item.right = Some((near.0, near.1 + 1));
        }
    }
    StructModel::Item(item)
}

/// A root, or an id that may or may not be a type.
pub fn parent(random: &mut Random, held: &Held) -> ParentModel {
    if held.is_empty() || random.one_in(2) {
        ParentModel::Root((*random.pick(&ROOTS)).to_owned())
    } else {
        ParentModel::Nested(id(random, held))
    }
}

/// Content of any kind; now and then of one that is refused.
pub fn content(random: &mut Random) -> Content {
    let text = |random: &mut Random| (*random.pick(&TEXTS)).to_owned();
    let json = |random: &mut Random| (*random.pick(&JSON)).to_owned();
    match random.below(17) {
        0 => Content::Deleted(1 + random.below(4) as u32),
        1 => Content::Json(vec![json(random), "undefined".to_owned()]),
        2 => Content::Binary(vec![1; random.index(4)]),
        3..=6 => Content::Text(text(random)),
        7 => Content::Embed(json(random)),
        8 => Content::Format("bold".to_owned(), json(random)),
        9..=12 => match random.below(20) {
            0 => Content::Type(random.below(20) as u8, None),
            1..=3 => Content::Type(3, Some("p".to_owned())),
            _ => Content::Type(*random.pick(&[0, 1, 2, 4, 6]), None),
        },
        13 | 14 => Content::Any((0..=random.below(3)).map(|_| any(random)).collect()),
        15 => Content::Subdocument(text(random), options(random)),
        _ => Content::Text(text(random)),
    }
}

/// The options of a subdocument; now and then a value that is refused.
fn options(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => any(random),
        1..=3 => [&[118, 1, 4][..], b"meta", &any(random)].concat(),
        _ => vec![118, 0],
    }
}

/// One lib0 value of at most a few levels.
fn any(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => vec![127],
        1 => vec![126],
        2 => vec![120],
        3 => vec![125, random.below(64) as u8],
        4 => vec![124, 0x7f, 0xc0, 0, 0],
        5 => vec![123, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a],
        6 => vec![122, 0x7f, 255, 255, 255, 255, 255, 255, 255],
        7 => vec![116, 2, 0, 1],
        8 => [&[117, 1][..], &any(random)].concat(),
        9 => [&[118, 1, 1, b'k'][..], &any(random)].concat(),
        10 => vec![125, 0xc0 | random.below(64) as u8, 0x7f],
        _ => vec![119, 1, b's'],
    }
}
