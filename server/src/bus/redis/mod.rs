//! The bus between processes: one Redis channel a document, while this node has sessions of it.
//!
//! Redis is never the truth: what is lost on it is read from the log, and while it is away the store is
//! asked now and then, so that remote edits still arrive, only later.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use driftless_proto::name::DocumentName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::heart::{NODES_MAX, SILENCE_MAX};
use super::message::{Envelope, Said};
use super::nodes::NodeListeners;
use super::{
    Bus, BusError, BusFuture, BusStatus, Event, Listener, NodeEvent, NodeListener,
    NodeSubscription, Subscription, message,
};
use crate::metrics;

mod check;
#[cfg(test)]
pub(crate) mod check_tests;
mod guard;
mod heart;
mod link;
mod publisher;
#[cfg(test)]
mod tests;

pub use check::{RedisProblem, RedisReport, check};
pub use guard::Database;

/// Messages that wait for the connection: a burst of some milliseconds. What does not fit is lost, and
/// its receivers are told to read the log.
const PUBLISH_QUEUE_MAX: usize = 4_096;

/// Their bytes: a server that hangs costs no more memory than this.
const PUBLISH_QUEUE_BYTES_MAX: usize = 16 << 20;

/// Documents whose readers are told of a loss; of what is beyond, they learn when they ask the store.
const LOST_MAX: usize = 65_536;

/// Joins and departures that wait for the link: a burst of a node that loads its busiest minute at once.
const MOVES_QUEUE_MAX: usize = 16_384;

/// How long a subscription waits for its confirmation; then the link counts as broken.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an operator's command waits until the other nodes are told of it: a pipeline before it, its
/// own, and a moment.
const TELL_TIMEOUT: Duration = publisher::ANSWER_TIMEOUT
    .saturating_mul(2)
    .saturating_add(Duration::from_secs(1));

/// What a bus over Redis is told.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://user:password@host:port/db`, `rediss://` for TLS.
    pub url: String,
    /// In front of every name, so that two clusters never mix.
    pub prefix: String,
}

/// The bus of one node. Dropping it ends its connection.
#[derive(Debug)]
pub struct RedisBus {
    hub: Arc<Hub>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Hub {
    /// This process's number; what it hears of itself is ignored.
    node: u64,
    prefix: String,
    channels: Mutex<HashMap<DocumentName, Channel>>,
    /// Joins and departures, performed by the link in their order.
    moves: mpsc::Sender<Move>,
    /// More moves came than are kept: the link has to join all channels anew.
    has_lost_moves: AtomicBool,
    queue: mpsc::Sender<Message>,
    /// The bytes of the messages in it.
    queued_bytes: AtomicUsize,
    /// Who hears in this process what is told to all nodes.
    node_listeners: NodeListeners,
    /// Other nodes, and when they were heard.
    nodes: Mutex<HashMap<u64, Instant>>,
    /// Documents of which a message was lost: their readers are told to look at the log.
    lost: Mutex<HashSet<DocumentName>>,
    is_up: AtomicBool,
}

/// What is to be published.
#[derive(Debug)]
struct Message {
    channel: String,
    bytes: Bytes,
    /// Whose readers are told to look at the log when it is lost.
    document: Option<DocumentName>,
    /// Who waits until it is told; it is told no more once they have stopped waiting.
    waiter: Option<oneshot::Sender<()>>,
}

impl Message {
    /// True when it is of no use any more.
    fn is_too_late(&self) -> bool {
        self.waiter.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// What the link does for a document.
#[derive(Debug)]
enum Move {
    /// Subscribe to its channel and answer.
    Join(DocumentName, oneshot::Sender<()>),
    /// Nobody here listens to it any more.
    Leave(DocumentName),
}

/// The members of one document in this process; usually one.
#[derive(Debug, Default)]
struct Channel {
    next: u64,
    listeners: Vec<(u64, Arc<dyn Listener>)>,
}

#[derive(Debug)]
struct Member {
    hub: Arc<Hub>,
    document: DocumentName,
    number: u64,
}

/// Locks, also after a panic elsewhere: every critical section here leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client for the URL; who connects with it finds out whether anybody is there.
fn client(options: &RedisOptions) -> Result<redis::Client, BusError> {
    redis::Client::open(options.url.as_str()).map_err(|_| {
        // The error would repeat the password.
        BusError("its URL cannot be read; write redis://user:password@host:6379".to_owned())
    })
}

impl RedisBus {
    /// Starts connecting, on the current tokio runtime, and goes on whenever the connection breaks.
    /// Refused only for a URL that can never work.
    pub fn start(options: &RedisOptions) -> Result<Self, BusError> {
        let client = client(options)?;
        let (queue, waiting) = mpsc::channel(PUBLISH_QUEUE_MAX);
        let (moves, wanted) = mpsc::channel(MOVES_QUEUE_MAX);
        let hub = Arc::new(Hub {
            node: fastrand::u64(..),
            prefix: options.prefix.clone(),
            channels: Mutex::default(),
            moves,
            has_lost_moves: AtomicBool::new(false),
            queue,
            queued_bytes: AtomicUsize::new(0),
            node_listeners: NodeListeners::default(),
            nodes: Mutex::default(),
            lost: Mutex::default(),
            is_up: AtomicBool::new(false),
        });
        let tasks = vec![
            tokio::spawn(link::run(hub.clone(), client.clone(), wanted)),
            tokio::spawn(publisher::run(hub.clone(), client, waiting)),
            tokio::spawn(heart::run(hub.clone())),
        ];
        Ok(Self { hub, tasks })
    }

    /// Keeps the mark of the database that this node writes to, so that no node of a copy of it joins.
    pub fn guarding(mut self, options: &RedisOptions, fingerprint: &str) -> Result<Self, BusError> {
        let task = guard::keep(
            client(options)?,
            guard::key(options),
            fingerprint.to_owned(),
        );
        self.tasks.push(tokio::spawn(task));
        Ok(self)
    }

    fn is_up(&self) -> bool {
        self.hub.is_up.load(Ordering::Acquire)
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Hub {
    /// Asks the link for a move; false when it does not take it. What does not fit is made up for by
    /// joining all channels anew.
    fn ask(&self, one: Move) -> bool {
        let is_taken = self.moves.try_send(one).is_ok();
        if !is_taken {
            self.has_lost_moves.store(true, Ordering::Release);
        }
        is_taken
    }

    /// The channel of a document: the prefix keeps clusters apart.
    fn channel_name(&self, document: &DocumentName) -> String {
        format!("{}:doc:{document}", self.prefix)
    }

    /// The document of a channel.
    fn document_of(&self, channel: &str) -> Option<DocumentName> {
        let name = channel.strip_prefix(&self.prefix)?.strip_prefix(":doc:")?;
        DocumentName::new(name).ok()
    }

    /// Adds a member; the channel is to be subscribed to afterwards.
    fn join(self: &Arc<Self>, document: &DocumentName, listener: Arc<dyn Listener>) -> Member {
        let mut channels = lock(&self.channels);
        let channel = channels.entry(document.clone()).or_default();
        let number = channel.next;
        channel.next += 1;
        channel.listeners.push((number, listener));
        Member {
            hub: self.clone(),
            document: document.clone(),
            number,
        }
    }

    fn documents(&self) -> Vec<DocumentName> {
        lock(&self.channels).keys().cloned().collect()
    }

    /// Passes an event on to the members of a document, without the one that published it.
    fn tell(&self, document: &DocumentName, event: &Event, except: Option<u64>) {
        // Called without the lock: a member that leaves meanwhile may hear one event more.
        let listeners: Vec<_> = lock(&self.channels)
            .get(document)
            .into_iter()
            .flat_map(|channel| &channel.listeners)
            .filter(|(number, _)| Some(*number) != except)
            .map(|(_, listener)| listener.clone())
            .collect();
        for listener in listeners {
            listener.hear(event.clone());
        }
    }

    /// Everything may have been lost for a while.
    fn tell_rejoined(&self) {
        self.tell_all(&Event::Rejoined);
        self.node_listeners.tell(&NodeEvent::Rejoined, None);
    }

    /// Passes an event on to the members of all documents.
    fn tell_all(&self, event: &Event) {
        for document in self.documents() {
            self.tell(&document, event, None);
        }
    }

    /// Takes a message that another node published.
    fn hear(&self, channel: &str, payload: &[u8]) {
        let Some(document) = self.document_of(channel) else {
            return self.hear_node(channel, payload);
        };
        match message::decode(Bytes::copy_from_slice(payload)) {
            Ok(envelope) if envelope.node == self.node => {}
            Ok(Envelope {
                said: Said::Event(event),
                ..
            }) => self.tell(&document, &event, None),
            Ok(_) => {}
            Err(error) => {
                metrics::bus_unreadable();
                tracing::debug!(%document, %error, "a bus message is ignored");
                self.tell(&document, &Event::Interrupted, None);
            }
        }
    }

    /// Takes what another node told all nodes, which is a sign of life in any case. What a newer
    /// version tells and this one cannot read is nothing that was lost.
    fn hear_node(&self, channel: &str, payload: &[u8]) {
        if channel != self.nodes_channel() {
            return;
        }
        let Ok(envelope) = message::decode(Bytes::copy_from_slice(payload)) else {
            return metrics::bus_unreadable();
        };
        if envelope.node == self.node {
            return;
        }
        self.note_alive(envelope.node);
        if let Said::Node(event) = envelope.said {
            self.node_listeners.tell(&event, None);
        }
    }

    fn note_alive(&self, node: u64) {
        let mut nodes = lock(&self.nodes);
        if nodes.contains_key(&node) || nodes.len() < NODES_MAX {
            nodes.insert(node, Instant::now());
        }
    }

    /// Tells the documents of nodes that fell silent.
    fn forget_silent_nodes(&self) {
        let mut nodes = lock(&self.nodes);
        let silent = nodes.extract_if(|_, heard| heard.elapsed() > SILENCE_MAX);
        let silent: Vec<u64> = silent.map(|(node, _)| node).collect();
        metrics::bus_nodes(nodes.len());
        drop(nodes);
        for node in silent {
            tracing::warn!(node, "a node fell silent");
            self.tell_all(&Event::NodeLost { node });
        }
    }

    /// Says that this node is there.
    fn beat(&self) {
        // A full queue is a sign of life by itself, once it moves.
        self.enqueue(Message {
            channel: self.nodes_channel(),
            bytes: message::encode_beat(self.node),
            document: None,
            waiter: None,
        });
    }

    fn nodes_channel(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Queues a message for the publisher; what does not fit is noted as lost.
    fn publish(&self, document: &DocumentName, event: &Event) {
        let Some(bytes) = message::encode(self.node, event) else {
            return;
        };
        let message = Message {
            channel: self.channel_name(document),
            bytes,
            document: Some(document.clone()),
            waiter: None,
        };
        if !self.enqueue(message) {
            metrics::bus_lost(1);
            self.remember_lost(document.clone());
        }
    }

    /// Hands a message to the publisher; false when it does not fit.
    fn enqueue(&self, message: Message) -> bool {
        let bytes = message.bytes.len();
        let waiting = self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = waiting == 0 || waiting + bytes <= PUBLISH_QUEUE_BYTES_MAX;
        let is_taken = fits && self.queue.try_send(message).is_ok();
        if !is_taken {
            self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
        is_taken
    }

    /// The publisher took these messages out of the queue.
    fn note_dequeued(&self, messages: &[Message]) {
        let bytes = messages.iter().map(|message| message.bytes.len()).sum();
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// The publisher could not tell these messages. Who waits for one counts it by itself.
    fn note_lost(&self, messages: impl Iterator<Item = Message>) {
        for message in messages.filter(|message| message.waiter.is_none()) {
            metrics::bus_lost(1);
            message
                .document
                .into_iter()
                .for_each(|document| self.remember_lost(document));
        }
    }

    /// Remembers a document of which a message was lost.
    fn remember_lost(&self, document: DocumentName) {
        let mut lost = lock(&self.lost);
        if lost.len() < LOST_MAX {
            lost.insert(document);
        }
    }
}

impl Bus for RedisBus {
    fn status(&self) -> BusStatus {
        if self.is_up() {
            BusStatus::Up
        } else {
            BusStatus::Down
        }
    }

    fn subscribe<'a>(
        &'a self,
        document: &'a DocumentName,
        listener: Arc<dyn Listener>,
    ) -> BusFuture<'a, Result<Box<dyn Subscription>, BusError>> {
        Box::pin(async move {
            let member = self.hub.join(document, listener);
            let (confirm, confirmed) = oneshot::channel();
            // Also without a link: one that is being made may have asked already which documents
            // there are.
            let is_asked = self.hub.ask(Move::Join(document.clone(), confirm));
            // Without one the document works alone, and looks at its log now and then.
            if is_asked && self.is_up() {
                let _ = timeout(CONFIRM_TIMEOUT, confirmed).await;
            }
            Ok(Box::new(member) as Box<_>)
        })
    }

    fn join_nodes(&self, listener: Arc<dyn NodeListener>) -> Box<dyn NodeSubscription> {
        Box::new(NodeMember {
            number: self.hub.node_listeners.add(listener),
            hub: self.hub.clone(),
        })
    }
}

/// This node on the channel of all nodes, which the link is always subscribed to.
#[derive(Debug)]
struct NodeMember {
    hub: Arc<Hub>,
    number: u64,
}

impl NodeSubscription for NodeMember {
    fn publish(&self, event: NodeEvent) -> BusFuture<'_, bool> {
        self.hub.node_listeners.tell(&event, Some(self.number));
        let (waiter, told) = oneshot::channel();
        let message = message::encode_node(self.hub.node, &event).map(|bytes| Message {
            channel: self.hub.nodes_channel(),
            bytes,
            document: None,
            waiter: Some(waiter),
        });
        let is_queued = message.is_some_and(|message| self.hub.enqueue(message));
        Box::pin(async move {
            let is_told = is_queued && matches!(timeout(TELL_TIMEOUT, told).await, Ok(Ok(())));
            if !is_told {
                metrics::bus_lost(1);
            }
            is_told
        })
    }
}

impl Drop for NodeMember {
    fn drop(&mut self) {
        self.hub.node_listeners.remove(self.number);
    }
}

impl Subscription for Member {
    fn has_peers(&self) -> bool {
        true
    }

    fn publish(&self, event: Event) {
        self.hub.tell(&self.document, &event, Some(self.number));
        self.hub.publish(&self.document, &event);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut channels = lock(&self.hub.channels);
        let Some(channel) = channels.get_mut(&self.document) else {
            return;
        };
        channel
            .listeners
            .retain(|(number, _)| *number != self.number);
        if !channel.listeners.is_empty() {
            return;
        }
        channels.remove(&self.document);
        drop(channels);
        self.hub.ask(Move::Leave(self.document.clone()));
    }
}
