//! A stranger on the bus: repeats old messages late and twice, and says what nobody can read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Client, Connection, RedisResult};

use crate::error::ClusterError;

/// Messages remembered, the oldest of which may be repeated minutes late.
const REMEMBERED_MAX: usize = 512;

/// How long the stranger listens between two things it says.
const LISTEN: Duration = Duration::from_millis(40);

/// After an error: the server was killed, or its link cut.
const RETRY_WAIT: Duration = Duration::from_millis(300);

/// Every channel of every cluster on this server.
const CHANNELS: &str = "driftless:*";

/// What was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoiseCounts {
    /// Messages of nodes that were repeated.
    pub repeated: u64,
    /// Messages that nobody can read.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    is_loud: AtomicBool,
    repeated: AtomicU64,
    unreadable: AtomicU64,
    remembered: Mutex<VecDeque<(String, Vec<u8>)>>,
}

/// The stranger. It leaves when this is dropped.
#[derive(Debug)]
pub struct BusNoise {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl BusNoise {
    /// Listens to all channels of the server; says nothing yet.
    pub fn start(url: &str, seed: u64) -> Result<Self, ClusterError> {
        let client = Client::open(url)?;
        let shared = Arc::<Shared>::default();
        let its = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut dice = fastrand::Rng::with_seed(seed);
            while !its.is_over.load(Ordering::Acquire) {
                if attend(&client, &its, &mut dice).is_err() {
                    std::thread::sleep(RETRY_WAIT);
                }
            }
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Talks, or is quiet and only listens.
    pub fn set_loud(&self, is_loud: bool) {
        self.shared.is_loud.store(is_loud, Ordering::Release);
    }

    /// What was said so far.
    pub fn counts(&self) -> NoiseCounts {
        NoiseCounts {
            repeated: self.shared.repeated.load(Ordering::Relaxed),
            unreadable: self.shared.unreadable.load(Ordering::Relaxed),
        }
    }
}

impl Drop for BusNoise {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens and talks until an error or the end.
fn attend(client: &Client, shared: &Shared, dice: &mut fastrand::Rng) -> RedisResult<()> {
    let mut speaking = client.get_connection_with_timeout(RETRY_WAIT)?;
    speaking.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut listening = client.get_connection_with_timeout(RETRY_WAIT)?;
    listening.set_read_timeout(Some(LISTEN))?;
    let mut heard = listening.as_pubsub();
    heard.psubscribe(CHANNELS)?;
    while !shared.is_over.load(Ordering::Acquire) {
        match heard.get_message() {
            Ok(message) => remember(
                shared,
                message.get_channel_name().to_owned(),
                message.get_payload_bytes().to_vec(),
            ),
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error),
        }
        // As often as messages come, and at least with every timeout.
        if shared.is_loud.load(Ordering::Acquire) && dice.u8(..4) == 0 {
            talk(&mut speaking, shared, dice)?;
        }
    }
    Ok(())
}

fn remember(shared: &Shared, channel: String, payload: Vec<u8>) {
    let mut remembered = lock(shared);
    if remembered.len() == REMEMBERED_MAX {
        remembered.pop_front();
    }
    remembered.push_back((channel, payload));
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, VecDeque<(String, Vec<u8>)>> {
    shared
        .remembered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Says one thing on a channel that was heard of.
fn talk(to: &mut Connection, shared: &Shared, dice: &mut fastrand::Rng) -> RedisResult<()> {
    let Some((channel, mut payload)) = ({
        let remembered = lock(shared);
        let at = dice.usize(..remembered.len().max(1));
        remembered.get(at).cloned()
    }) else {
        return Ok(());
    };
    let times = match dice.u8(..4) {
        0 => {
            spoil(&mut payload, dice);
            shared.unreadable.fetch_add(1, Ordering::Relaxed);
            1
        }
        _ => {
            shared.repeated.fetch_add(1, Ordering::Relaxed);
            dice.u8(1..=2)
        }
    };
    for _ in 0..times {
        redis::cmd("PUBLISH").arg(&channel).arg(&payload).exec(to)?;
    }
    Ok(())
}

/// Cut, of another version, or nothing at all.
fn spoil(payload: &mut Vec<u8>, dice: &mut fastrand::Rng) {
    match dice.u8(..3) {
        0 => payload.truncate(dice.usize(..payload.len().max(1))),
        1 => {
            if let Some(version) = payload.first_mut() {
                *version = dice.u8(2..);
            }
        }
        _ => *payload = std::iter::repeat_with(|| dice.u8(..)).take(32).collect(),
    }
}
