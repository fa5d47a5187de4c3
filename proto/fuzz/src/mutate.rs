//! Mutations: of an update's structure, so that many still pass the scan, and of plain bytes.

use crate::model::{Content, ItemModel, SectionModel, StructModel, UpdateModel};
use crate::support::random::Random;
use crate::synthesize::{self, Held};

/// Changes an update in one to four ways; `other` is another one to splice from.
pub fn update(random: &mut Random, model: &mut UpdateModel, other: &UpdateModel, held: &Held) {
    for _ in 0..=random.below(4) {
        match random.below(12) {
            0 => clocks(random, model),
            1 => clients(random, model, held),
            2 => sections(random, model, other),
            3 => deletes(random, model, held),
            4 => deep(random, model, held),
            _ => section(random, model, other, held),
        }
    }
}

fn clocks(random: &mut Random, model: &mut UpdateModel) {
    if model.sections.is_empty() {
        return;
    }
    let at = random.index(model.sections.len());
    let section = &mut model.sections[at];
    section.clock = match random.below(6) {
        0 => 0,
        1 => section.clock.saturating_sub(1 + random.below(4) as u32),
        2 => section.clock.saturating_add(1 + random.below(4) as u32),
        3 => i32::MAX as u32,
        4 => u32::MAX,
        _ => random.below(20) as u32,
    };
}

fn clients(random: &mut Random, model: &mut UpdateModel, held: &Held) {
    if model.sections.is_empty() {
        return;
    }
    let at = random.index(model.sections.len());
    model.sections[at].client = match random.below(5) {
        0 => (1 << 53) - 1,
        1 => 1 << 53,
        2 => u64::MAX,
        _ => synthesize::id(random, held).0,
    };
}

fn sections(random: &mut Random, model: &mut UpdateModel, other: &UpdateModel) {
    match random.below(4) {
        0 if !model.sections.is_empty() => {
            let at = random.index(model.sections.len());
            model.sections.remove(at);
        }
        1 if !model.sections.is_empty() => {
            let copy = random.pick(&model.sections).clone();
            model.sections.push(copy);
        }
        2 => random.shuffle(&mut model.sections),
        _ => {
            for section in &other.sections {
                let absent = model
                    .sections
                    .iter()
                    .all(|own| own.client != section.client);
                if absent || random.one_in(10) {
                    model.sections.push(section.clone());
                }
            }
            model.deletes.extend(other.deletes.iter().cloned());
        }
    }
}

fn deletes(random: &mut Random, model: &mut UpdateModel, held: &Held) {
    let (client, clock) = synthesize::id(random, held);
    let length = match random.below(8) {
        0 => 0,
        1 => i32::MAX as u32,
        2 => u32::MAX,
        _ => 1 + random.below(6) as u32,
    };
    match random.below(4) {
        0 => model.deletes.clear(),
        1 if !model.deletes.is_empty() => {
            let at = random.index(model.deletes.len());
            model.deletes[at].1.push((clock, length));
        }
        _ => model.deletes.push((client, vec![(clock, length)])),
    }
}

/// Types in types, or values in values, to a depth near or beyond the bounds.
fn deep(random: &mut Random, model: &mut UpdateModel, held: &Held) {
    if !random.one_in(8) {
        return;
    }
    let client = random.below(6);
    let start = held
        .iter()
        .find(|entry| entry.0 == client)
        .map_or(0, |entry| entry.1);
    let depth = *random.pick(&[3, 60, 70, 250, 260]);
    model.sections.retain(|section| section.client != client);
    if random.one_in(2) {
        let mut value = [117, 1].repeat(depth);
        value.push(126);
        let item = ItemModel {
            origin: None,
            right: None,
            parent: synthesize::parent(random, &Held::new()),
            key: None,
            content: Content::Any(vec![value]),
        };
        model.sections.push(SectionModel {
            client,
            clock: start,
            structs: vec![StructModel::Item(item)],
        });
        return;
    }
    let structs = (0..depth as u32)
        .map(|level| {
            StructModel::Item(ItemModel {
                origin: None,
                right: None,
                parent: match level {
                    0 => synthesize::parent(random, &Held::new()),
                    _ => crate::model::ParentModel::Nested((client, start + level - 1)),
                },
                key: random.one_in(2).then(|| "k1".to_owned()),
                content: Content::Type(random.below(3) as u8, None),
            })
        })
        .collect();
    model.sections.push(SectionModel {
        client,
        clock: start,
        structs,
    });
    if random.one_in(2) {
        model.deletes.push((client, vec![(start, 1)]));
    }
}

fn section(random: &mut Random, model: &mut UpdateModel, other: &UpdateModel, held: &Held) {
    if model.sections.is_empty() {
        *model = synthesize::update(random, held);
        return;
    }
    let at = random.index(model.sections.len());
    let section = &mut model.sections[at];
    if section.structs.is_empty() {
        section.structs.push(StructModel::Gc(1));
    }
    let at = random.index(section.structs.len());
    match random.below(8) {
        0 => {
            section.structs.remove(at);
        }
        1 => section.structs.insert(at, section.structs[at].clone()),
        2 => section
            .structs
            .insert(at, StructModel::Skip(random.below(4) as u32)),
        3 => {
            let id = (section.client, section.clock.wrapping_add(at as u32));
            let made = synthesize::structure(random, held, id);
            section.structs.insert(at, made);
        }
        4 => {
            if let Some(foreign) = other.sections.first().and_then(|own| own.structs.first()) {
                section.structs.insert(at, foreign.clone());
            }
        }
        _ => {
            if let StructModel::Item(item) = &mut section.structs[at] {
                mutate_item(random, item, held);
            }
        }
    }
}

fn mutate_item(random: &mut Random, item: &mut ItemModel, held: &Held) {
    match random.below(7) {
        0 => item.origin = Some(synthesize::id(random, held)),
        1 => item.right = Some(synthesize::id(random, held)),
        2 => item.origin = None,
        3 => item.right = None,
        4 => item.parent = synthesize::parent(random, held),
        5 => item.key = random.one_in(2).then(|| "k1".to_owned()),
        _ => item.content = synthesize::content(random),
    }
}

/// Changes bytes without knowing what they mean.
pub fn bytes(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        let at = random.index(input.len().max(1)).min(input.len());
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => {
                input[at] = *random.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, 10, 64]);
            }
            2 if at < input.len() => {
                input.remove(at);
            }
            3 => input.insert(at, random.bits() as u8),
            4 => input.truncate(at),
            _ => {
                let end = (at + random.index(8)).min(input.len());
                let copy = input[at..end].to_vec();
                input.extend(copy);
            }
        }
    }
}
