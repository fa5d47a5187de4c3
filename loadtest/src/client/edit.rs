//! Builds edits by template: valid one-character Yjs updates of about 25 bytes, no CRDT involved.
//!
//! A writer types at the end of its own text: each character's origin is the writer's last one, so
//! that every update is causally closed given the one before it.

use super::lib0::push_number;
use super::websocket::{BINARY, push_frame};

/// The root text of every load.
const ROOT: u8 = b't';

/// One writer's next edits.
#[derive(Debug)]
pub(crate) struct Typist {
    client: u64,
    clock: u64,
    payload: Vec<u8>,
    update: Vec<u8>,
}

impl Typist {
    /// A writer that has typed nothing yet.
    pub(crate) fn new(client: u64) -> Self {
        Self {
            client,
            clock: 0,
            payload: Vec::with_capacity(64),
            update: Vec::with_capacity(64),
        }
    }

    /// Appends the frame of the next character and returns its clock.
    pub(crate) fn push_next(&mut self, out: &mut Vec<u8>) -> u64 {
        let clock = self.clock;
        let letter = [b'a' + (clock % 26) as u8];
        self.update.clear();
        push_text(&mut self.update, self.client, clock, &letter);
        self.payload.clear();
        self.payload.extend_from_slice(&[0, 2]);
        push_number(&mut self.payload, self.update.len() as u64);
        self.payload.extend_from_slice(&self.update);
        push_frame(out, BINARY, &self.payload);
        self.clock += 1;
        clock
    }
}

/// Appends an update with one struct: ASCII `text` of `client` from `clock` on, behind its own
/// last character.
pub(crate) fn push_text(out: &mut Vec<u8>, client: u64, clock: u64, text: &[u8]) {
    out.extend_from_slice(&[1, 1]);
    push_number(out, client);
    push_number(out, clock);
    if clock == 0 {
        out.extend_from_slice(&[0x04, 1, 1, ROOT]);
    } else {
        out.push(0x84);
        push_number(out, client);
        push_number(out, clock - 1);
    }
    push_number(out, text.len() as u64);
    out.extend_from_slice(text);
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::super::update::{Run, for_each_run};
    use super::*;

    #[test]
    fn the_first_update_is_the_golden_one() {
        let mut update = Vec::new();
        push_text(&mut update, 1, 0, b"hi");
        assert_eq!(update, [1, 1, 1, 0, 4, 1, 1, b't', 2, b'h', b'i', 0]);
    }

    #[test]
    fn later_updates_follow_the_own_last_character() {
        let mut typist = Typist::new(7);
        for expected in 0..3 {
            let mut frame = Vec::new();
            assert_eq!(typist.push_next(&mut frame), expected);
        }
        assert_eq!(typist.update, [1, 1, 7, 2, 0x84, 7, 1, 1, b'c', 0]);
        let run = |clock| Run {
            client: 7,
            start: clock,
            length: 1,
        };
        let mut runs = Vec::new();
        for_each_run(&typist.update, |found| runs.push(found)).unwrap();
        assert_eq!(runs, [run(2)]);
    }
}
