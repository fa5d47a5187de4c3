//! The authorization hook: the application decides, asked over HTTP.
//!
//! ```text
//!  Question ─▶ question under way? ─▶ cache ─▶ bound ─▶ circuit ─▶ worker ─▶ application
//!                   └ wait for it     └ hit    └──── denied ───┘               │
//!  Grant / Denial ◀──────────── all who wait ◀───────────── cache, circuit ◀────┘
//! ```
//!
//! Only a clear yes allows. A hook that is slow, broken or away denies, in a way that peers retry.

mod cache;
mod circuit;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use ring::hmac;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::cache::{Cache, Decision, QuestionKey};
use self::circuit::{Admission, Circuit};
use super::http::{HttpClient, HttpError};
use super::time::TimeSource;
use super::worker::Worker;
use super::{Denial, Question, Trouble};
use crate::metrics;

pub use cache::ANSWERS_MAX;
pub use circuit::{FAILURES_MAX, PAUSE_MS};
pub use wire::{ANSWER_BYTES_MAX, SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// Requests to the hook at a time; others wait for their turn.
pub const REQUESTS_MAX: usize = 64;

/// Different questions that wait for the hook or are asked, a token of 16 KiB each at most. Beyond
/// it new ones are denied at once.
pub const QUESTIONS_MAX: usize = 1_024;

/// How the hook is asked.
#[derive(Debug, Clone)]
pub(super) struct HookOptions {
    pub(super) url: Uri,
    /// What requests are signed with.
    pub(super) secret: hmac::Key,
    /// For one request, and as long again to wait for its turn.
    pub(super) timeout: Duration,
    /// How long an answer is kept.
    pub(super) keep_ms: u64,
}

/// The hook as questions see it.
#[derive(Debug)]
pub(super) struct Hook {
    shared: Arc<Shared>,
    worker: Worker,
}

#[derive(Debug)]
struct Shared {
    options: HookOptions,
    client: HttpClient,
    turns: Semaphore,
    state: Mutex<State>,
    time: Arc<dyn TimeSource>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    circuit: Circuit,
    /// Questions under way that anybody may wait for; not those that were doubted.
    joinable: HashMap<QuestionKey, Waiting>,
    /// All questions under way.
    under_way: usize,
    /// Counts questions, to tell one from another.
    asked: u64,
}

#[derive(Debug)]
struct Waiting {
    asked: u64,
    answer: watch::Receiver<Option<Answer>>,
}

/// What became of a question.
enum Step {
    Known(Decision),
    Wait(watch::Receiver<Option<Answer>>),
}

/// What the hook said to those who waited.
#[derive(Debug, Clone)]
struct Answer {
    decision: Decision,
    /// Nobody doubted it while the hook was asked.
    is_current: bool,
}

impl Hook {
    /// Starts the thread that asks.
    pub(super) fn start(
        options: HookOptions,
        client: HttpClient,
        time: Arc<dyn TimeSource>,
    ) -> std::io::Result<Self> {
        let state = State {
            cache: Cache::new(options.keep_ms, ANSWERS_MAX),
            circuit: Circuit::new(),
            joinable: HashMap::new(),
            under_way: 0,
            asked: 0,
        };
        metrics::auth_hook_circuit(false);
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                client,
                turns: Semaphore::new(REQUESTS_MAX),
                state: Mutex::new(state),
                time,
            }),
            worker: Worker::start()?,
        })
    }

    /// Ready at the first poll when the answer is known. Who waited for one that was doubted meanwhile
    /// asks again, once: whoever doubts again and again must not keep all others waiting.
    pub(super) async fn decide(&self, question: &Question) -> Decision {
        let answer = self.answer(question).await;
        match answer.is_current {
            true => answer.decision,
            false => self.answer(question).await.decision,
        }
    }

    async fn answer(&self, question: &Question) -> Answer {
        match self.begin(question) {
            Step::Known(decision) => Answer {
                decision,
                is_current: true,
            },
            Step::Wait(mut answer) => {
                let answered = answer.wait_for(Option::is_some).await;
                // The other end only leaves when the worker does: the server is stopping.
                let answered = answered.ok().and_then(|answer| answer.clone());
                answered.unwrap_or(Answer {
                    decision: Err(Denial::Unavailable(Trouble::Hook)),
                    is_current: true,
                })
            }
        }
    }

    /// The answer, if it is remembered.
    pub(super) fn known(&self, question: &Question) -> Option<Decision> {
        let time = &self.shared.time;
        let key = QuestionKey::of(question);
        let state = self.shared.lock();
        let known = state.cache.get(&key, time.now_ms(), time.wall_ms());
        known.inspect(|_| metrics::auth_hook_cached())
    }

    /// What was answered to this question, or is about to be, counts no more: it is asked again.
    pub(super) fn doubt(&self, question: &Question) {
        let key = QuestionKey::of(question);
        let mut state = self.shared.lock();
        state.cache.forget(&key);
        state.joinable.remove(&key);
    }

    fn begin(&self, question: &Question) -> Step {
        let key = QuestionKey::of(question);
        let time = &self.shared.time;
        let (now_ms, wall_ms) = (time.now_ms(), time.wall_ms());
        let mut state = self.shared.lock();
        if let Some(waiting) = state.joinable.get(&key) {
            return Step::Wait(waiting.answer.clone());
        }
        if let Some(decision) = state.cache.get(&key, now_ms, wall_ms) {
            metrics::auth_hook_cached();
            return Step::Known(decision);
        }
        // The bound first: a question that is not asked must not use up the probe.
        if state.under_way >= QUESTIONS_MAX {
            return Step::Known(Err(Denial::Unavailable(Trouble::HookBusy)));
        }
        let admission = state.circuit.admit(now_ms);
        if admission == Admission::No {
            return Step::Known(Err(Denial::Unavailable(Trouble::HookPaused)));
        }
        state.asked += 1;
        state.under_way += 1;
        let (sender, answer) = watch::channel(None);
        let waiting = Waiting {
            asked: state.asked,
            answer: answer.clone(),
        };
        let asked = waiting.asked;
        state.joinable.insert(key, waiting);
        drop(state);
        let shared = self.shared.clone();
        let question = question.clone();
        self.worker.spawn(async move {
            let decision = shared.ask(&question, admission).await;
            let is_current = shared.answered(key, asked, &decision);
            sender.send_replace(Some(Answer {
                decision,
                is_current,
            }));
        });
        Step::Wait(answer)
    }
}

impl Shared {
    /// One request, in its turn.
    async fn ask(&self, question: &Question, admission: Admission) -> Decision {
        let turn = tokio::time::timeout(self.options.timeout, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Denial::Unavailable(Trouble::HookBusy));
        };
        // Whoever waited while the hook broke down does not have to find out again.
        if admission != Admission::AsProbe && self.lock().circuit.is_open() {
            return Err(Denial::Unavailable(Trouble::HookPaused));
        }
        let (decision, has_failed) = self.exchange(question).await;
        let mut state = self.lock();
        match has_failed {
            true => {
                if state.circuit.failed(self.time.now_ms()) {
                    tracing::warn!(
                        pause_ms = PAUSE_MS,
                        "the authorization hook keeps failing and is left alone for a while"
                    );
                }
            }
            false => state.circuit.answered(),
        }
        metrics::auth_hook_circuit(state.circuit.is_open());
        decision
    }

    /// What the hook says, and whether it failed.
    async fn exchange(&self, question: &Question) -> (Decision, bool) {
        let HookOptions {
            url,
            secret,
            timeout,
            ..
        } = &self.options;
        let unknown = Err(Denial::Unavailable(Trouble::Hook));
        let request = match wire::request(url, secret, question, self.time.wall_ms()) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "the authorization hook cannot be asked");
                return (unknown, true);
            }
        };
        let began = Instant::now();
        let answer = self.client.send(request, *timeout, ANSWER_BYTES_MAX).await;
        metrics::auth_hook_asked(began.elapsed());
        match answer {
            Ok(answer) => {
                let decision = wire::decision(&answer, self.time.wall_ms());
                if decision == unknown {
                    metrics::auth_hook_failed("answer");
                    tracing::debug!(status = %answer.status, "the authorization hook gave no answer that is understood");
                }
                (decision, wire::is_failure(answer.status))
            }
            Err(error) => {
                metrics::auth_hook_failed(error.label());
                tracing::debug!(%error, "the authorization hook failed");
                let has_failed = match error {
                    // Somebody's long page about what it does not know.
                    HttpError::TooLarge { status, .. } => wire::is_failure(status),
                    _ => true,
                };
                (unknown, has_failed)
            }
        }
    }

    /// Remembers an answer, unless somebody doubted it meanwhile: false then.
    fn answered(&self, key: QuestionKey, asked: u64, decision: &Decision) -> bool {
        let now_ms = self.time.now_ms();
        let mut state = self.lock();
        state.under_way -= 1;
        let is_current = state.joinable.get(&key).is_some_and(|it| it.asked == asked);
        if is_current {
            state.joinable.remove(&key);
            state.cache.put(key, decision, now_ms);
        }
        is_current
    }

    /// Nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
