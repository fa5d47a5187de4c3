//! Logs whose updates stand in another order than the one in which they were made.

use driftless_proto::engine::export;
use driftless_proto::wire::lib0::put_var_uint;

use super::*;

/// The info of an item with a left neighbour and a text.
const ORIGIN_AND_TEXT: u8 = 0x84;

/// The log of clients that type into one text, each letter behind the one before, whoever wrote that,
/// and delete some; and what the text is then.
fn log(seed: u64, edits: usize) -> (Vec<Bytes>, String) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut clocks = [0; 5];
    let mut letters: Vec<(u64, u64, char)> = Vec::new();
    let mut updates = Vec::with_capacity(edits);
    for _ in 0..edits {
        if random.u8(..8) == 0 && letters.len() > 1 {
            // The last one stays: the next letter is typed behind it.
            let (client, clock, _) = letters.remove(random.usize(..letters.len() - 1));
            updates.push(numbers(&[0, 1, client, 1, clock, 1]).into());
            continue;
        }
        let client = random.usize(1..clocks.len());
        let (clock, letter) = (clocks[client], random.lowercase());
        let (client, code) = (client as u64, u64::from(letter));
        updates.push(match letters.last() {
            None => typed(client as u8, 0, &letter.to_string()),
            Some(&(left, at, _)) => {
                let place = [&[ORIGIN_AND_TEXT][..], &numbers(&[left, at])].concat();
                let head = numbers(&[1, 1, client, clock]);
                [head, place, numbers(&[1, code, 0])].concat().into()
            }
        });
        letters.push((client, clock, letter));
        clocks[client as usize] += 1;
    }
    (updates, letters.iter().map(|(_, _, it)| *it).collect())
}

/// Numbers as updates hold them.
fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    numbers.iter().for_each(|&it| put_var_uint(&mut bytes, it));
    bytes
}

/// The text that the updates make; nothing may be left over.
fn text_of(updates: &[Bytes]) -> String {
    let made = gathered(Ok(updates.to_vec()));
    assert!(!made.is_partial);
    export::text(&made.content.state, Some("body")).unwrap()
}

#[test]
fn a_long_log_comes_over_in_any_order() {
    const SEED: u64 = 20_000;
    let (mut updates, text) = log(SEED, 20_000);
    assert_eq!(text_of(&updates).trim_end(), text, "in its order");
    updates.reverse();
    assert_eq!(text_of(&updates).trim_end(), text, "backwards");
    fastrand::Rng::with_seed(SEED).shuffle(&mut updates);
    assert_eq!(text_of(&updates).trim_end(), text, "shuffled");
}

#[test]
fn a_gap_of_many_clients_is_left_behind_and_the_rest_comes_over() {
    // More than a peer would be asked for: all of them rest on what is not there.
    let waiting = (10..5_010).map(|client| {
        let head = numbers(&[1, 1, client, 0]);
        Bytes::from([&head[..], &[ORIGIN_AND_TEXT, 1, 9, 1, b'x', 0]].concat())
    });
    let gathered = gathered(Ok(waiting.chain([typed(1, 0, "here")]).collect()));
    assert!(gathered.is_partial);
    let vector: Vec<_> = gathered.content.known.vector.iter().collect();
    assert_eq!(vector, [(1, 4)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A failure shows the seed of the log and of the order.
    #[test]
    fn logs_come_over_in_any_order(seed in any::<u64>(), edits in 1_usize..400) {
        let (updates, text) = log(seed, edits);
        let mut shuffled = updates.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let shown = text_of(&shuffled);
        prop_assert_eq!(shown.trim_end(), text);
        let [wanted, made] = [updates, shuffled].map(|it| gathered(Ok(it)).content);
        prop_assert_eq!(relation(&wanted, &made), Ok(Relation::Equal));
    }
}
