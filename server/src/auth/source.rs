//! One place that keys come from, a file or a URL: the last good keys, and looks for newer ones.
//!
//! A look runs on the worker, one at a time; whoever misses a key waits for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::freshness::{Freshness, Pace};
use super::http::HttpClient;
use super::keys::{KEYS_BYTES_MAX, KeySet, Trust};
use super::time::TimeSource;
use super::worker::Worker;
use crate::metrics;

/// Looking at a file's times costs next to nothing; four a second at most when keys are missed.
pub(super) const FILE_PACE: Pace = Pace {
    refresh_ms: 1_000,
    interval_min_ms: 250,
    age_max_ms: None,
};

/// Issuers publish a new key long before its first use. Strangers can ask for keys that do not
/// exist; they cause no more than six looks a minute. Keys outlive an outage of the issuer for a
/// day; a key that was withdrawn is not trusted for longer than that either.
pub(super) const URL_PACE: Pace = Pace {
    refresh_ms: 300_000,
    interval_min_ms: 10_000,
    age_max_ms: Some(86_400_000),
};

/// How long a fetch may take; joiners wait for it.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is asked whether a look is due.
const TICK: Duration = Duration::from_millis(500);

/// Where keys are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// A file on this machine.
    File(PathBuf),
    /// Published by an issuer.
    Url(Uri, Box<HttpClient>),
}

/// What tells one state of a file from another; a replaced file has another number.
type Stamp = (SystemTime, u64, u64);

/// What a look found.
enum Found {
    /// The file is as it was.
    Same,
    /// These keys.
    Keys(KeySet, Option<Stamp>),
}

/// What comes of asking for a look.
#[derive(Debug)]
pub(super) enum Look {
    /// Wait for the value to change.
    UnderWay(watch::Receiver<u64>),
    /// There was one a moment ago, and a new key may have been published since.
    TooSoon,
    /// There was one a moment ago, and what it found is as good as the present: a file is written
    /// before anybody signs with its keys.
    Known,
}

/// A place with the keys last found there.
#[derive(Debug)]
pub(super) struct Source {
    place: Place,
    state: Mutex<State>,
    /// Counts looks that ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    keys: Arc<KeySet>,
    stamp: Option<Stamp>,
    freshness: Freshness,
    is_looking: bool,
}

impl Source {
    /// A place where nothing has been looked for.
    pub(super) fn new(place: Place, pace: Pace) -> Self {
        let state = State {
            keys: Arc::default(),
            stamp: None,
            freshness: Freshness::new(pace),
            is_looking: false,
        };
        Self {
            place,
            state: Mutex::new(state),
            ended: watch::Sender::new(0),
        }
    }

    /// The keys to use now; nothing when there are none or they are too old.
    pub(super) fn keys(&self, now_ms: u64) -> Option<Arc<KeySet>> {
        let state = self.lock();
        let is_usable = state.freshness.is_usable(now_ms);
        is_usable.then(|| state.keys.clone())
    }

    /// True when the last look failed, so that keys may be missing that are there. Not for a file that
    /// was read before: somebody broke it, and until it is mended what it held is all there is.
    pub(super) fn may_lack_keys(&self) -> bool {
        let freshness = self.lock().freshness;
        let has_others = matches!(self.place, Place::Url(..)) || !freshness.was_confirmed();
        has_others && freshness.is_failing()
    }

    /// Starts a look, or joins the one under way.
    pub(super) fn look(self: &Arc<Self>, worker: &Worker, time: &Arc<dyn TimeSource>) -> Look {
        let ended = self.ended.subscribe();
        let mut state = self.lock();
        if !state.is_looking {
            if !state.freshness.may_look(time.now_ms()) {
                return match self.place {
                    Place::File(_) => Look::Known,
                    Place::Url(..) => Look::TooSoon,
                };
            }
            state.is_looking = true;
            worker.spawn(self.clone().look_once(time.clone()));
        }
        Look::UnderWay(ended)
    }

    /// Looks whenever it is due, for ever.
    pub(super) async fn keep_fresh(self: Arc<Self>, time: Arc<dyn TimeSource>) {
        loop {
            let is_due = {
                let mut state = self.lock();
                let is_due = !state.is_looking && state.freshness.is_due(time.now_ms());
                state.is_looking |= is_due;
                is_due
            };
            if is_due {
                self.clone().look_once(time.clone()).await;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Only for who set `is_looking`.
    async fn look_once(self: Arc<Self>, time: Arc<dyn TimeSource>) {
        let known = self.lock().stamp;
        let found = match &self.place {
            Place::File(path) => read(path, known).await,
            Place::Url(url, client) => fetch(url, client).await,
        };
        self.take(found, time.now_ms());
        self.ended.send_modify(|count| *count += 1);
    }

    fn take(&self, found: Result<Found, String>, now_ms: u64) {
        let mut state = self.lock();
        state.is_looking = false;
        let was_failing = state.freshness.is_failing();
        state.freshness.looked(now_ms, found.is_ok());
        match found {
            Ok(Found::Same) => {}
            Ok(Found::Keys(keys, stamp)) => {
                metrics::auth_keys_refreshed(self.kind(), "ok");
                if was_failing || state.keys.is_empty() || stamp.is_some() {
                    tracing::info!(from = %self.shown(), keys = keys.len(), "keys read");
                }
                state.keys = Arc::new(keys);
                state.stamp = stamp;
            }
            Err(problem) => {
                metrics::auth_keys_refreshed(self.kind(), "failed");
                // Once at the beginning of an outage: it is tried again for as long as it lasts.
                if !was_failing || state.keys.is_empty() {
                    tracing::warn!(from = %self.shown(), %problem, kept = state.keys.len(), "keys could not be read");
                }
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self.place {
            Place::File(_) => "file",
            Place::Url(..) => "url",
        }
    }

    /// For log lines: a query may hold a secret.
    pub(super) fn shown(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Url(url, _) => crate::config::values::mask(&url.to_string()),
        }
    }

    /// Nothing panics while it is locked; a poisoned lock would still hold what was last found.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A first look by whoever starts the server, so that a broken file stops the start.
    pub(super) fn read_now(&self, now_ms: u64) -> Result<(), String> {
        let Place::File(path) = &self.place else {
            return Ok(());
        };
        let found = read_blocking(path);
        let told = found.as_ref().err().cloned();
        self.take(found, now_ms);
        told.map_or(Ok(()), Err)
    }
}

/// Looks once, for a check of the settings.
pub(super) async fn read_place(place: &Place) -> Result<KeySet, String> {
    let found = match place {
        Place::File(path) => read(path, None).await?,
        Place::Url(url, client) => fetch(url, client).await?,
    };
    match found {
        Found::Keys(keys, _) => Ok(keys),
        // Only where something is known already.
        Found::Same => Ok(KeySet::default()),
    }
}

async fn read(path: &Path, known: Option<Stamp>) -> Result<Found, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = tokio::fs::File::open(path).await.map_err(cannot)?;
    let stamp = stamp(&file.metadata().await.map_err(cannot)?);
    if known.is_some() && known == stamp {
        return Ok(Found::Same);
    }
    let mut bytes = Vec::new();
    let mut bounded = file.take(KEYS_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut bytes).await.map_err(cannot)?;
    parse(&bytes, stamp)
}

fn read_blocking(path: &Path) -> Result<Found, String> {
    use std::io::Read;
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let stamp = stamp(&file.metadata().map_err(cannot)?);
    let mut bytes = Vec::new();
    let mut bounded = file.take(KEYS_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(cannot)?;
    parse(&bytes, stamp)
}

fn parse(bytes: &[u8], stamp: Option<Stamp>) -> Result<Found, String> {
    let keys = KeySet::read(bytes, Trust::File).map_err(|error| error.to_string())?;
    Ok(Found::Keys(keys, stamp))
}

fn stamp(metadata: &std::fs::Metadata) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let changed = metadata.modified().ok()?;
    Some((changed, metadata.len(), metadata.ino()))
}

async fn fetch(url: &Uri, client: &HttpClient) -> Result<Found, String> {
    let request = Request::get(url.clone())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, super::USER_AGENT)
        .body(Full::new(Bytes::new()))
        .map_err(|error| error.to_string())?;
    let answer = client.send(request, FETCH_TIMEOUT, KEYS_BYTES_MAX).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != http::StatusCode::OK {
        return Err(format!("answered {}", answer.status));
    }
    let keys = KeySet::read(&answer.body, Trust::Published).map_err(|error| error.to_string())?;
    Ok(Found::Keys(keys, None))
}
