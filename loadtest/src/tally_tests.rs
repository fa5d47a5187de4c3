//! Counting under merged, repeated, missing and misdirected updates.

use super::*;

const LAYOUT: Layout = Layout {
    rooms: 2,
    clients: 3,
    writers: 2,
    stopped: 0,
    first_id: 1_000,
};

fn windowed(layout: Layout, until: Until) -> Tally {
    let dues = (0..layout.writer_count())
        .map(|_| Dues::windowed(4))
        .collect();
    Tally::new(layout, until, dues, 0..1_000)
}

/// An update with one string struct per (client, clock, length).
fn update(runs: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let push = crate::client::lib0::push_number;
    push(&mut bytes, runs.len() as u64);
    for (client, clock, length) in runs {
        push(&mut bytes, 1);
        push(&mut bytes, *client);
        push(&mut bytes, *clock);
        bytes.extend_from_slice(&[0x04, 1, 1, b't']);
        push(&mut bytes, *length);
        bytes.extend(std::iter::repeat_n(b'x', *length as usize));
    }
    bytes.push(0);
    bytes
}

#[test]
fn a_merged_frame_counts_every_edit_of_others_once() {
    let mut tally = windowed(LAYOUT, Until::All);
    for (writer, count) in [(0, 3), (1, 2)] {
        for _ in 0..count {
            tally.note_sent(writer, 10);
        }
    }
    let merged = update(&[(1_000, 0, 3), (1_001, 0, 2)]);
    tally.message(2, Message::Update(&merged), 30);
    tally.message(2, Message::Update(&merged), 40);
    assert_eq!(tally.deliveries, 5);
    // A writer's own edits do not count.
    tally.message(0, Message::Update(&merged), 40);
    assert_eq!(tally.deliveries, 7);
    assert_eq!(tally.outstanding(), 3);
    tally.message(1, Message::Step2(&merged), 50);
    assert_eq!(
        (tally.deliveries, tally.by_step2, tally.outstanding()),
        (10, 3, 0)
    );
    assert_eq!(tally.latency.count(), 10);
    assert_eq!(tally.count_missing(100), 0);
}

#[test]
fn edits_of_another_room_are_strays() {
    let mut tally = windowed(LAYOUT, Until::All);
    tally.note_sent(0, 10);
    tally.message(3, Message::Update(&update(&[(1_000, 0, 1)])), 30);
    tally.message(1, Message::Update(&update(&[(5, 0, 1)])), 30);
    assert_eq!((tally.deliveries, tally.strays), (0, 1));
}

#[test]
fn an_edit_returns_with_its_last_or_first_reader() {
    let first = update(&[(1_000, 0, 1)]);
    let mut returned = Vec::new();
    let mut tally = windowed(LAYOUT, Until::All);
    tally.note_sent(0, 10);
    tally.message(1, Message::Update(&first), 20);
    tally.take_returned(&mut returned);
    assert_eq!(returned, []);
    tally.message(2, Message::Update(&first), 30);
    tally.take_returned(&mut returned);
    assert_eq!(returned, [(0, 30)]);

    let mut tally = windowed(LAYOUT, Until::First);
    tally.note_sent(0, 10);
    tally.message(1, Message::Update(&first), 20);
    tally.message(2, Message::Update(&first), 30);
    returned.clear();
    tally.take_returned(&mut returned);
    assert_eq!(returned, [(0, 20)]);
}

#[test]
fn a_writer_waits_when_its_slots_are_taken() {
    let mut tally = windowed(LAYOUT, Until::First);
    for _ in 0..4 {
        assert!(tally.has_room(0));
        tally.note_sent(0, 10);
    }
    assert!(!tally.has_room(0));
    for reader in [1, 2] {
        tally.message(reader, Message::Update(&update(&[(1_000, 0, 1)])), 20);
    }
    assert!(tally.has_room(0));
}

#[test]
fn missing_edits_are_counted_and_are_late() {
    let mut tally = windowed(LAYOUT, Until::All);
    for _ in 0..3 {
        tally.note_sent(0, 10);
    }
    tally.message(1, Message::Update(&update(&[(1_000, 0, 1)])), 20);
    tally.message(2, Message::Update(&update(&[(1_000, 2, 1)])), 20);
    assert_eq!(tally.count_missing(2_000_010), 4);
    assert_eq!(tally.latency.count(), 6);
    assert_eq!(tally.latency.max_ms(), 2.0);
}

#[test]
fn stopped_readers_count_apart() {
    let layout = Layout {
        stopped: 1,
        writers: 1,
        ..LAYOUT
    };
    let mut tally = windowed(layout, Until::All);
    tally.note_sent(0, 10);
    let first = update(&[(1_000, 0, 1)]);
    tally.message(2, Message::Update(&first), 500);
    assert_eq!((tally.deliveries, tally.late_deliveries), (0, 1));
    assert_eq!((tally.outstanding(), tally.late_outstanding()), (1, 0));
    assert_eq!(tally.latency.count(), 0);
    let mut returned = Vec::new();
    tally.message(1, Message::Update(&first), 600);
    tally.take_returned(&mut returned);
    assert_eq!(returned, [(0, 600)]);
}

#[test]
fn paced_latency_runs_from_the_due_time() {
    let dues = (0..4)
        .map(|_| Dues::Paced {
            first_ns: 100,
            interval_ns: 50.0,
        })
        .collect();
    let mut tally = Tally::new(LAYOUT, Until::All, dues, 100..1_000);
    tally.note_sent(0, 100);
    tally.note_sent(0, 150);
    tally.message(2, Message::Update(&update(&[(1_000, 0, 2)])), 210);
    assert_eq!(tally.latency.max_ms(), 110.0 / 1e6);
}

#[test]
fn unreadable_updates_are_counted() {
    let mut tally = windowed(LAYOUT, Until::All);
    tally.message(1, Message::Update(&[1, 1]), 10);
    tally.message(1, Message::Denied(b"no"), 10);
    assert_eq!((tally.unreadable, tally.denials), (1, 1));
}
