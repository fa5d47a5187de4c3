//! The connection that tells: publishes what waits in one pipeline, and makes up for what was lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use driftless_proto::name::DocumentName;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Pipeline};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{Hub, Message, lock};
use crate::bus::{Event, message};

/// Messages in one pipeline.
const PIPELINE_MAX: usize = 256;

/// A pipeline that is not answered by then counts as lost.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// After a failure; what was lost meanwhile is told once.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// Publishes until the bus is dropped.
pub(super) async fn run(hub: Arc<Hub>, client: Client, mut waiting: mpsc::Receiver<Message>) {
    let mut connection: Option<ConnectionManager> = None;
    let mut batch = Vec::with_capacity(PIPELINE_MAX);
    loop {
        let has_lost = !lock(&hub.lost).is_empty();
        if has_lost && batch.is_empty() {
            // Nobody may publish again for long: those who missed something are told now.
            batch.extend(look_at_your_logs(&hub));
        } else if waiting.recv_many(&mut batch, PIPELINE_MAX).await == 0 {
            return;
        } else {
            hub.note_dequeued(&batch);
            batch.retain(|message| !message.is_too_late());
        }
        if batch.is_empty() {
            continue;
        }
        if connection.is_none() {
            connection = connect(&client).await;
        }
        let sent = match &mut connection {
            Some(connection) => publish(connection, &batch).await,
            None => false,
        };
        if sent {
            for waiter in batch.drain(..).filter_map(|message| message.waiter) {
                // Who stopped waiting said that it was not told; that it was does no harm.
                let _ = waiter.send(());
            }
        } else {
            connection = None;
            hub.note_lost(batch.drain(..));
            sleep(RETRY_WAIT).await;
        }
    }
}

async fn connect(client: &Client) -> Option<ConnectionManager> {
    // By itself it would wait for half a second only.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let connecting = client.get_connection_manager_with_config(config);
    timeout(ANSWER_TIMEOUT, connecting).await.ok()?.ok()
}

async fn publish(connection: &mut ConnectionManager, batch: &[Message]) -> bool {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for message in batch {
        let command = pipeline.cmd("PUBLISH");
        command
            .arg(&message.channel)
            .arg(&message.bytes[..])
            .ignore();
    }
    let sent = timeout(ANSWER_TIMEOUT, pipeline.query_async::<()>(connection)).await;
    matches!(sent, Ok(Ok(())))
}

/// One message for each document of which one was lost.
fn look_at_your_logs(hub: &Hub) -> Vec<Message> {
    let mut lost = lock(&hub.lost);
    let some: HashSet<DocumentName> = lost.iter().take(PIPELINE_MAX).cloned().collect();
    lost.retain(|document| !some.contains(document));
    drop(lost);
    some.into_iter()
        .filter_map(|document| {
            Some(Message {
                channel: hub.channel_name(&document),
                bytes: message::encode(hub.node, &Event::Interrupted)?,
                document: Some(document),
                waiter: None,
            })
        })
        .collect()
}
