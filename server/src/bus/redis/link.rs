//! The connection that hears: subscribes, passes messages on, and comes back after it broke.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Hub, Move};
use crate::bus::Event;
use crate::metrics;

/// Between two questions whether the server is still there, and how long an answer may take: a server
/// that hangs is noticed within three seconds.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The wait after a first failure; it doubles with each further one.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Joins and departures performed together, and names in one command.
const MOVES_MAX: usize = 512;

/// Hears until it is aborted.
pub(super) async fn run(hub: Arc<Hub>, client: Client, mut moves: mpsc::Receiver<Move>) {
    let mut wait = RETRY_MIN;
    loop {
        let error = match connect(&hub, &client, &mut moves).await {
            Ok((sink, stream)) => {
                wait = RETRY_MIN;
                hub.is_up.store(true, Ordering::Release);
                metrics::bus_up(true);
                tracing::info!("the bus is connected");
                // What was published while nobody heard is in the logs, or told again when asked.
                hub.tell_rejoined();
                serve(&hub, sink, stream, &mut moves).await
            }
            Err(error) => error,
        };
        if hub.is_up.swap(false, Ordering::AcqRel) {
            metrics::bus_up(false);
            tracing::warn!(%error, "the bus is gone; remote edits arrive by the log until it is back");
            hub.tell_all(&Event::Interrupted);
        }
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Connects and subscribes to the channels of all documents in memory.
async fn connect(
    hub: &Hub,
    client: &Client,
    moves: &mut mpsc::Receiver<Move>,
) -> Result<(PubSubSink, PubSubStream), String> {
    let pubsub = answer(client.get_async_pubsub()).await?;
    let (mut sink, stream) = pubsub.split();
    // Those who wait for a link are among the documents in memory.
    hub.has_lost_moves.store(false, Ordering::Release);
    while moves.try_recv().is_ok() {}
    answer(sink.subscribe(hub.nodes_channel())).await?;
    let documents = hub.documents();
    for part in documents.chunks(MOVES_MAX) {
        let names: Vec<String> = part.iter().map(|one| hub.channel_name(one)).collect();
        answer(sink.subscribe(names)).await?;
    }
    Ok((sink, stream))
}

/// Passes messages on until the connection breaks; returns why.
async fn serve(
    hub: &Hub,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    moves: &mut mpsc::Receiver<Move>,
) -> String {
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Vec::with_capacity(MOVES_MAX);
    loop {
        let done = tokio::select! {
            message = stream.next() => match message {
                Some(message) => {
                    hub.hear(message.get_channel_name(), message.get_payload_bytes());
                    Ok(())
                }
                None => Err("the server closed the connection".to_owned()),
            },
            _ = moves.recv_many(&mut waiting, MOVES_MAX) => {
                if hub.has_lost_moves.load(Ordering::Acquire) {
                    return "more documents came and left at once than are kept".to_owned();
                }
                perform(hub, &mut sink, std::mem::take(&mut waiting)).await
            }
            _ = ping.tick() => answer(sink.ping::<redis::Value>()).await.map(|_| ()),
        };
        if let Err(error) = done {
            return error;
        }
    }
}

/// Subscribes to what is wanted, then leaves what nobody listens to any more.
async fn perform(hub: &Hub, sink: &mut PubSubSink, moves: Vec<Move>) -> Result<(), String> {
    let (mut joins, mut leaves) = (HashMap::new(), HashSet::new());
    for one in moves {
        match one {
            Move::Join(document, confirm) => {
                let waiting: &mut Vec<_> = joins.entry(document).or_default();
                waiting.push(confirm);
            }
            Move::Leave(document) => {
                leaves.insert(document);
            }
        }
    }
    if !joins.is_empty() {
        let names: Vec<String> = joins.keys().map(|one| hub.channel_name(one)).collect();
        answer(sink.subscribe(names)).await?;
        for (document, confirms) in joins {
            for confirm in confirms {
                // Who did not wait so long has read the log already, and may have missed something.
                if confirm.send(()).is_err() {
                    hub.tell(&document, &Event::Interrupted, None);
                }
            }
        }
    }
    let present: HashSet<_> = hub
        .documents()
        .into_iter()
        .filter(|it| leaves.contains(it))
        .collect();
    let gone: Vec<String> = leaves
        .iter()
        .filter(|document| !present.contains(*document))
        .map(|document| hub.channel_name(document))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    answer(sink.unsubscribe(gone)).await
}

async fn answer<T>(asked: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err("the server does not answer".to_owned()),
    }
}
