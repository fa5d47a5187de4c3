//! The editing trace of the `load` scenario as Yjs updates, one per key stroke, made without a CRDT.
//!
//! With one writer no edits are concurrent, so an insertion only needs the character to its left and
//! the one to its right in the list that still holds the deleted ones.

use serde_json::Value;

use crate::bench::scramble;
use crate::client::lib0::push_number;
use crate::client::messages::push_update;

/// The shape of the automerge-perf trace, which the synthetic one copies.
const SYNTHETIC_INSERTIONS: usize = 182_315;
const SYNTHETIC_DELETIONS: usize = 77_463;

/// At `position`, delete so many characters, then insert `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    position: usize,
    deleted: usize,
    text: String,
}

/// Every key stroke as a frame ready to send.
#[derive(Debug)]
pub(crate) struct Trace {
    frames: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
    pub(crate) insertions: u64,
    pub(crate) deletions: u64,
}

impl Trace {
    /// The key strokes of `patches` by the client `id`; `None` when a patch lies outside the text.
    pub(crate) fn new(patches: &[Patch], id: u64) -> Option<Self> {
        let mut text = Text::new(id);
        let mut trace = Self {
            frames: Vec::new(),
            ends: Vec::new(),
            insertions: 0,
            deletions: 0,
        };
        let mut update = Vec::new();
        for patch in patches {
            for _ in 0..patch.deleted {
                update.clear();
                text.delete(patch.position, &mut update)?;
                trace.push(&update);
                trace.deletions += 1;
            }
            for (offset, letter) in patch.text.chars().enumerate() {
                update.clear();
                text.insert(patch.position + offset, letter, &mut update)?;
                trace.push(&update);
                trace.insertions += 1;
            }
        }
        Some(trace)
    }

    fn push(&mut self, update: &[u8]) {
        push_update(&mut self.frames, update);
        self.ends.push(self.frames.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The frames of the key strokes `from .. to`.
    pub(crate) fn frames(&self, from: usize, to: usize) -> &[u8] {
        let start = from.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = to.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.frames[start..end]
    }
}

/// Reads a trace: JSON of editing-traces (`{"txns": [{"patches": [[position, deleted, "text"]]}]}`),
/// or automerge-perf's list of `[position, deleted, "a", "b"]`, also with its JavaScript around it.
pub(crate) fn parse(file: &str) -> Option<Vec<Patch>> {
    let json = &file[file.find(['{', '['])?..];
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let value = values.next()?.ok()?;
    if let Some(edits) = value.as_array() {
        return edits.iter().map(parse_patch).collect();
    }
    let transactions = value.get("txns")?.as_array()?;
    let patches = transactions
        .iter()
        .map(|one| one.get("patches")?.as_array());
    let patches: Option<Vec<_>> = patches.collect();
    patches?.into_iter().flatten().map(parse_patch).collect()
}

fn parse_patch(value: &Value) -> Option<Patch> {
    let fields = value.as_array()?;
    let number = |at: usize| usize::try_from(fields.get(at)?.as_u64()?).ok();
    let texts = fields.iter().skip(2).map(Value::as_str);
    Some(Patch {
        position: number(0)?,
        deleted: number(1)?,
        text: texts.collect::<Option<String>>()?,
    })
}

/// A made-up trace with as many key strokes as automerge-perf's: bursts of typing with slips taken
/// back, every third burst somewhere else in the text. The same each time.
pub(crate) fn synthetic() -> Vec<Patch> {
    let mut patches = Vec::new();
    let (mut inserted, mut deleted, mut cursor) = (0, 0, 0);
    let mut state = 0;
    let mut random = |below: usize| {
        state += 1;
        (scramble(state) % below as u64) as usize
    };
    while inserted < SYNTHETIC_INSERTIONS {
        if random(3) == 0 {
            cursor = random(inserted - deleted + 1);
        }
        let burst = (1 + random(63)).min(SYNTHETIC_INSERTIONS - inserted);
        for _ in 0..burst {
            let letter = char::from(b'a' + random(26) as u8);
            patches.push(Patch {
                position: cursor,
                deleted: 0,
                text: letter.to_string(),
            });
            cursor += 1;
        }
        inserted += burst;
        let slips = match inserted {
            SYNTHETIC_INSERTIONS => SYNTHETIC_DELETIONS - deleted,
            _ => random(28)
                .min(SYNTHETIC_DELETIONS - deleted)
                .min(inserted - deleted),
        };
        for _ in 0..slips {
            // Backspace, or delete at the start of the text.
            cursor = cursor.saturating_sub(1);
            patches.push(Patch {
                position: cursor,
                deleted: 1,
                text: String::new(),
            });
        }
        deleted += slips;
    }
    patches
}

/// A text by the clocks of its characters.
#[derive(Debug)]
struct Text {
    id: u64,
    visible: Vec<u32>,
    /// The character behind each, deleted ones included, at its clock + 1; the first is the start.
    /// Zero is the end.
    next: Vec<u32>,
}

impl Text {
    fn new(id: u64) -> Self {
        Self {
            id,
            visible: Vec::new(),
            next: vec![0],
        }
    }

    /// Appends the update that inserts one ASCII letter (others become `_`).
    fn insert(&mut self, position: usize, letter: char, out: &mut Vec<u8>) -> Option<()> {
        let left = match position {
            0 => 0,
            _ => *self.visible.get(position - 1)? as usize + 1,
        };
        let right = self.next[left];
        let clock = (self.next.len() - 1) as u32;
        self.next.push(right);
        self.next[left] = clock + 1;
        self.visible.insert(position, clock);

        out.extend_from_slice(&[1, 1]);
        push_number(out, self.id);
        push_number(out, u64::from(clock));
        let (has_left, has_right) = (left > 0, right > 0);
        out.push(4 | u8::from(has_left) << 7 | u8::from(has_right) << 6);
        if has_left {
            push_number(out, self.id);
            push_number(out, left as u64 - 1);
        }
        if has_right {
            push_number(out, self.id);
            push_number(out, u64::from(right) - 1);
        }
        if !has_left && !has_right {
            out.extend_from_slice(&[1, 1, b't']);
        }
        let byte = if letter.is_ascii() {
            letter as u8
        } else {
            b'_'
        };
        out.extend_from_slice(&[1, byte, 0]);
        Some(())
    }

    /// Appends the update that deletes one character.
    fn delete(&mut self, position: usize, out: &mut Vec<u8>) -> Option<()> {
        if position >= self.visible.len() {
            return None;
        }
        let clock = self.visible.remove(position);
        out.extend_from_slice(&[0, 1]);
        push_number(out, self.id);
        out.push(1);
        push_number(out, u64::from(clock));
        out.push(1);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(position: usize, deleted: usize, text: &str) -> Patch {
        Patch {
            position,
            deleted,
            text: text.to_owned(),
        }
    }

    #[test]
    fn both_forms_of_trace_are_read() {
        let wanted = vec![patch(0, 0, "ab"), patch(1, 1, "")];
        let editing_traces =
            r#"{"txns":[{"time":"","patches":[[0,0,"ab"]]},{"patches":[[1,1,""]]}]}"#;
        assert_eq!(parse(editing_traces), Some(wanted.clone()));
        let automerge_perf = "const edits = [\n[0,0,\"a\",\"b\"],\n[1,1]\n]\nconst finalText = ''";
        assert_eq!(parse(automerge_perf), Some(wanted));
        assert_eq!(parse("nothing"), None);
    }

    #[test]
    fn key_strokes_become_updates_with_both_neighbours() {
        let mut text = Text::new(7);
        let mut update = Vec::new();
        text.insert(0, 'a', &mut update).unwrap();
        assert_eq!(update, [1, 1, 7, 0, 4, 1, 1, b't', 1, b'a', 0]);
        update.clear();
        text.insert(1, 'c', &mut update).unwrap();
        assert_eq!(update, [1, 1, 7, 1, 0x84, 7, 0, 1, b'c', 0]);
        update.clear();
        text.delete(1, &mut update).unwrap();
        assert_eq!(update, [0, 1, 7, 1, 1, 1]);
        update.clear();
        // The deleted character is still the right neighbour.
        text.insert(1, 'b', &mut update).unwrap();
        assert_eq!(update, [1, 1, 7, 2, 0xc4, 7, 0, 7, 1, 1, b'b', 0]);
        update.clear();
        text.insert(0, 'x', &mut update).unwrap();
        assert_eq!(update, [1, 1, 7, 3, 0x44, 7, 0, 1, b'x', 0]);
        assert!(text.delete(9, &mut update).is_none());
    }

    #[test]
    fn the_synthetic_trace_has_the_shape_of_the_real_one() {
        let trace = Trace::new(&synthetic(), 1 << 28).unwrap();
        assert_eq!(trace.insertions as usize, SYNTHETIC_INSERTIONS);
        assert_eq!(trace.deletions as usize, SYNTHETIC_DELETIONS);
        assert_eq!(trace.len(), 259_778);
        let whole = trace.frames(0, trace.len()).len();
        assert_eq!(
            trace.frames(0, 9).len() + trace.frames(9, trace.len()).len(),
            whole
        );
    }
}
