//! Bytes changed without knowing what they mean.

use crate::support::random::Random;

/// Changes a message in one to four places; `other` is another one to splice from.
pub(crate) fn bytes(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.index(input.len() + 1);
        let end = (at + random.index(12)).min(input.len());
        match random.below(11) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => {
                input[at] = *random.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, 10, 64]);
            }
            2 => drop(input.drain(at..end)),
            3 => input.insert(at, random.bits() as u8),
            4 => input.truncate(at),
            5 => {
                let copy = input[at..end].to_vec();
                input.extend(copy);
            }
            6 => input[at..end].reverse(),
            7 => {
                let from = random.index(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            8 => {
                // A number that is longer, larger, or does not end.
                let number = vec![0xff; 1 + random.index(10)];
                input.splice(at..at, number);
            }
            9 => input.extend(vec![random.bits() as u8; random.index(2_000)]),
            _ if !input.is_empty() => {
                // Types and lengths are at the front.
                let at = random.index(input.len().min(12));
                input[at] = random.below(12) as u8;
            }
            _ => {}
        }
    }
}
