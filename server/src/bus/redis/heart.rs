//! Signs of life: every node says that it is there, and notices who is not, itself included.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Hub;

/// How often a node says that it is there.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A node that is not heard for so long is taken for gone: its clients may be with others by now.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A pause of this process that others may have taken for its end.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Nodes that are remembered; more than any cluster has.
pub(super) const NODES_MAX: usize = 1_024;

/// Beats until it is aborted.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut last = Instant::now();
    loop {
        hub.beat();
        hub.forget_silent_nodes();
        sleep(BEAT_INTERVAL).await;
        if last.elapsed() > BEAT_INTERVAL + PAUSE_MAX {
            tracing::warn!("this process stood still; other nodes are asked for what it missed");
            hub.tell_rejoined();
        }
        last = Instant::now();
    }
}
