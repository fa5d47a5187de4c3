//! An actor that was given up as stuck and comes back: it says, stores and passes on nothing, and what it
//! had not looked at is not lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use driftless::actors::Fault;
use driftless::outbox::{Outbox, Taken};
use driftless::session::Documents;
use driftless::store::{LogLimits, LogStart, Store};
use driftless_proto::engine::CloseReason;

use crate::house::{House, in_system, name, request, stuck_options};
use crate::peer::Peer;

/// Longer than the stuck timeout of these documents, a look of their supervisor and a load.
const STALL_MS: u64 = 12_000;

/// Long enough to queue something behind, and shorter than the stuck timeout.
const PAUSE_MS: u64 = 2_000;

/// What came of a document, to be compared.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    /// Frames that a peer heard.
    frames: usize,
    /// Stateless messages, here and on the other node.
    told: (usize, usize),
    /// Appends in the log.
    appends: usize,
}

/// A turn takes in a stateless message and a change, and stalls until it was replaced. Returns how often
/// the message came, here and on another node.
async fn come_back(fault: Fault) -> (usize, usize) {
    let nodes = House::open_nodes_with(stuck_options(), 2, |bus| Arc::new(bus)).await;
    let (registry, document) = (&nodes[0].registry, name("stuck"));
    let mut ada = Peer::join(registry, &document).await;
    let mut ben = Peer::join(registry, &document).await;
    let mut cid = Peer::join(&nodes[1].registry, &document).await;
    ada.write("before ").await;
    ada.until_saved().await;
    for peer in [&mut ben, &mut cid] {
        peer.until(|peer| peer.text() == "before ").await;
    }
    // So that one turn takes all that follows.
    registry.harm(&document, Fault::Stall { for_ms: PAUSE_MS });
    tokio::time::sleep(Duration::from_millis(50)).await;
    registry.harm(&document, fault);
    ada.tell_all().await;
    ada.write("after").await;
    while ben.text() != "before after" {
        // It is asked again what it has.
        ada.hear_for(Duration::from_millis(20)).await;
        ben.hear_for(Duration::from_millis(20)).await;
    }
    ada.write("!").await;
    ada.until_saved().await;
    for peer in [&mut ben, &mut cid] {
        peer.until(|peer| peer.text() == "before after!").await;
    }
    assert_eq!(registry.abandoned_threads(), 1);
    let mut trace = async |time| {
        ben.hear_for(time).await;
        cid.hear_for(Duration::from_millis(100)).await;
        let log = nodes[0]
            .store
            .read_log(&document, LogStart::After(0), LogLimits::NONE);
        Trace {
            frames: ben.heard,
            told: (ben.told, cid.told),
            appends: log.await.unwrap().appends.len(),
        }
    };
    let before = trace(Duration::from_millis(100)).await;
    let after = trace(Duration::from_millis(STALL_MS)).await;
    assert_eq!(before, after, "it came back and did something");
    ada.write("?").await;
    ada.until_saved().await;
    ben.until(|peer| peer.text() == "before after!?").await;
    assert_eq!((ada.closed, ben.closed, cid.closed), (None, None, None));
    after.told
}

#[test]
fn who_is_stuck_before_a_change_performs_nothing_and_its_successor_all() {
    in_system(async {
        let told = come_back(Fault::Stall { for_ms: STALL_MS }).await;
        assert_eq!(told, (1, 1));
    });
}

#[test]
fn who_is_stuck_over_a_change_performs_nothing() {
    in_system(async {
        let told = come_back(Fault::StallOverChange { for_ms: STALL_MS }).await;
        assert_eq!(told, (0, 0), "nobody can tell what it did");
    });
}

#[test]
fn who_was_ended_and_has_left_ends_nobody_who_came_on_its_line() {
    in_system(async {
        let house = House::open(stuck_options()).await;
        let (registry, document) = (&house.registry, name("line"));
        let mut ada = Peer::join(registry, &document).await;
        let outbox = Outbox::new(1 << 10);
        let join = || registry.attach(request(&document, |_, _, _| {}, &outbox));
        let first = join().unwrap();
        ada.write("before").await;
        ada.until_saved().await;
        // Its end is in front of an actor that never comes to it.
        registry.harm(&document, Fault::Stall { for_ms: STALL_MS });
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.end(CloseReason::Forbidden);
        first.detach(true);
        let _second = join().unwrap();
        ada.write("behind").await;
        ada.until_saved().await;
        assert_eq!(registry.abandoned_threads(), 1);
        let mut frames = VecDeque::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(taken) = outbox.poll_take(&mut context, &mut frames) {
            assert!(!matches!(taken, Taken::Ended(..)), "{taken:?}");
        }
    });
}
