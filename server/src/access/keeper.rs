//! Keeps the restrictions of a node as the store has them, and holds live sessions to every change.
//!
//! One task does all of it, one thing after the other: an older answer of the store can never
//! overwrite a newer one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::restriction::Restriction;
use super::selection::Selection;
use super::set::{RestrictionSet, Restrictions};
use crate::actors::Registry;
use crate::bus::{Bus, BusStatus, NodeEvent, NodeListener, NodeSubscription};
use crate::clock::Clock;
use crate::metrics;
use crate::outbox::Recheck;
use crate::store::{Store, StoreError};

/// What waits for the task: some commands of operators. More of other nodes is dropped, with a word in
/// the log; of a change of the restrictions one in the queue is as good as many.
const ASKS_MAX: usize = 256;

/// While other nodes are heard, the store is asked only every so many times.
const ROUNDS_WHILE_HEARD: u32 = 5;

/// After the store did not answer, where nothing else asks again.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// The longest sleep until a restriction runs out, since the wall clock may be set.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// What a keeper is told.
#[derive(Debug, Clone, Copy)]
pub struct KeeperOptions {
    /// How often the store is asked for changes of other nodes while the bus is down; `None` where no
    /// other node can write to it.
    pub poll_ms: Option<u64>,
}

/// How other nodes learn of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// There are none.
    Alone,
    /// They were told.
    Told,
    /// They could not be told.
    Untold,
}

/// What the task is to do.
#[derive(Debug)]
enum Ask {
    /// Read the store; how many live sessions were looked at again for it.
    Reload(Option<oneshot::Sender<Result<usize, StoreError>>>),
    /// Grant the access of these sessions anew.
    Recheck(Selection),
    /// End these sessions.
    End(Selection),
}

/// The handle of the task, which ends with it.
#[derive(Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    task: JoinHandle<()>,
    restrictions: Restrictions,
    registry: Registry,
    bus: Arc<dyn Bus>,
    nodes: Box<dyn NodeSubscription>,
    /// Other nodes may read the store.
    is_shared: bool,
}

impl Keeper {
    /// Reads the restrictions for the first time, and starts the task on the current tokio runtime.
    pub async fn start(
        options: KeeperOptions,
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        registry: Registry,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        // Before the first look: what changes behind it is heard.
        let nodes = bus.join_nodes(Arc::new(Ear(asks.clone())));
        let restrictions = Restrictions::default();
        let mut work = Work {
            poll: options.poll_ms.map(Duration::from_millis),
            store,
            bus: bus.clone(),
            registry: registry.clone(),
            clock,
            restrictions: restrictions.clone(),
            rounds: 0,
            next_look: None,
        };
        work.reload().await?;
        work.plan(true);
        let task = tokio::spawn(work.run(asked));
        Ok(Self {
            asks,
            task,
            restrictions,
            registry,
            bus,
            nodes,
            is_shared: options.poll_ms.is_some(),
        })
    }

    /// The restrictions in force, for doors.
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// The documents whose sessions it looks after.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store was changed: tells other nodes, and holds this one to it. Returns how many live
    /// sessions were looked at again here.
    pub async fn changed(&self) -> Result<(usize, Reach), StoreError> {
        let told = self.tell(NodeEvent::RestrictionsChanged);
        let (sessions, reach) = tokio::join!(self.reload(), told);
        Ok((sessions?, reach))
    }

    /// Has the task read the store; how many live sessions were looked at again for it.
    async fn reload(&self) -> Result<usize, StoreError> {
        let gone = || StoreError::Unavailable("the server is stopping".to_owned());
        let (reply, answer) = oneshot::channel();
        let sent = self.asks.send(Ask::Reload(Some(reply))).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Has sessions on all nodes granted their access anew; how many there are here.
    pub async fn recheck(&self, selection: Selection) -> (usize, Reach) {
        let registry = &self.registry;
        let count = registry.recheck_sessions(|it| selection.covers(it), Recheck::Grant);
        let reach = self.tell(NodeEvent::RecheckSessions(selection)).await;
        (count, reach)
    }

    /// Ends sessions on all nodes, which may come back; how many there are here.
    pub async fn end(&self, selection: Selection) -> (usize, Reach) {
        let ended = self
            .registry
            .end_sessions(|visitor| selection.covers(visitor));
        let reach = self.tell(NodeEvent::EndSessions(selection)).await;
        (ended, reach)
    }

    async fn tell(&self, event: NodeEvent) -> Reach {
        match (self.nodes.publish(event).await, self.bus.status()) {
            (_, BusStatus::Local) if !self.is_shared => Reach::Alone,
            (_, BusStatus::Local) => Reach::Untold,
            (true, _) => Reach::Told,
            (false, _) => Reach::Untold,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hears other nodes.
#[derive(Debug)]
struct Ear(mpsc::Sender<Ask>);

impl NodeListener for Ear {
    fn hear(&self, event: NodeEvent) {
        let ask = match event {
            NodeEvent::RestrictionsChanged | NodeEvent::Rejoined => Ask::Reload(None),
            NodeEvent::RecheckSessions(selection) => Ask::Recheck(selection),
            NodeEvent::EndSessions(selection) => Ask::End(selection),
        };
        if let Err(mpsc::error::TrySendError::Full(ask)) = self.0.try_send(ask) {
            tracing::warn!(
                ?ask,
                "too much of other nodes' operators at once; this was dropped"
            );
        }
    }
}

/// The task.
struct Work {
    poll: Option<Duration>,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    registry: Registry,
    clock: Clock,
    restrictions: Restrictions,
    /// Looks at the store that were left out, since other nodes are heard.
    rounds: u32,
    /// When the store is asked by itself; `None` for never.
    next_look: Option<Instant>,
}

impl Work {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        loop {
            let wakes_at = self.wakes_at();
            let ask = tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => Some(ask),
                    None => return,
                },
                () = sleep_until(wakes_at) => None,
            };
            match ask {
                Some(ask) => self.answer(ask).await,
                None => self.look().await,
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Reload(reply) => {
                let done = self.reload().await;
                self.plan(done.is_ok());
                if let Some(reply) = reply {
                    // Whoever asked may have gone; the work is done all the same.
                    let _ = reply.send(done);
                }
            }
            Ask::Recheck(selection) => {
                let registry = &self.registry;
                let count = registry.recheck_sessions(|it| selection.covers(it), Recheck::Grant);
                tracing::info!(?selection, count, "another node had sessions rechecked");
            }
            Ask::End(selection) => {
                let count = self.registry.end_sessions(|it| selection.covers(it));
                tracing::info!(?selection, count, "another node had sessions ended");
            }
        }
    }

    /// Does what time alone makes due.
    async fn look(&mut self) {
        if self.next_look.is_none_or(|at| at > Instant::now()) {
            self.drop_those_that_ran_out();
            return;
        }
        let is_heard = self.bus.status() == BusStatus::Up;
        self.rounds += 1;
        let is_due = !is_heard || self.rounds >= ROUNDS_WHILE_HEARD;
        let done = match is_due {
            true => self.reload().await,
            false => Ok(self.drop_those_that_ran_out()),
        };
        self.plan(done.is_ok());
    }

    /// When the task does something by itself.
    fn wakes_at(&self) -> Instant {
        let now = Instant::now();
        let end_ms = self.restrictions.current().first_end_ms();
        let ends_at = end_ms.map(|end_ms| {
            let left_ms = end_ms.saturating_sub(self.clock.wall_ms());
            now + Duration::from_millis(left_ms).min(SLEEP_MAX)
        });
        let longest = now + SLEEP_MAX;
        ends_at
            .into_iter()
            .chain(self.next_look)
            .fold(longest, Instant::min)
    }

    /// Decides when the store is asked next.
    fn plan(&mut self, is_current: bool) {
        let wait = match (is_current, self.poll) {
            (_, Some(poll)) => Some(poll),
            (false, None) => Some(RETRY_WAIT),
            (true, None) => None,
        };
        self.next_look = wait.map(|wait| Instant::now() + wait);
    }

    /// Reads the store, and holds this node to it.
    async fn reload(&mut self) -> Result<usize, StoreError> {
        match self.store.restrictions().await {
            Ok(restrictions) => {
                self.rounds = 0;
                Ok(self.take(restrictions.into_iter().map(Arc::new)))
            }
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the restrictions of access cannot be read; those that are known stay in force"
                );
                Err(error)
            }
        }
    }

    fn drop_those_that_ran_out(&mut self) -> usize {
        let current = self.restrictions.current();
        self.take(current.iter().cloned())
    }

    /// Puts restrictions in force, and has the sessions that the change concerns looked at again;
    /// returns how many.
    fn take(&mut self, restrictions: impl Iterator<Item = Arc<Restriction>>) -> usize {
        let now_ms = self.clock.wall_ms();
        let new = RestrictionSet::new(restrictions.filter(|one| !one.is_over(now_ms)));
        let difference = new.difference(&self.restrictions.current());
        if difference.is_empty() {
            return 0;
        }
        metrics::restrictions(new.len());
        tracing::info!(
            in_force = new.len(),
            "the restrictions of access have changed"
        );
        // In this order: who attaches after the search sees them.
        self.restrictions.replace(Arc::new(new));
        let registry = &self.registry;
        registry.recheck_sessions(|it| difference.covers(it), Recheck::Restrictions)
    }
}
