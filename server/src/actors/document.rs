//! The actor of one document: loads it, runs its turns, and retires when anything breaks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::ActorFutureExt as _;
use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use driftless_proto::engine::{CloseReason, Suspect};

use super::Shared;
use super::cell::{DocumentCell, Ear};
use super::load::{self, Loaded};
use super::registry::{Cause, Restart, WeakRegistry};
use super::turn::{Ready, TurnEnd};
use crate::bus::{Event, Subscription};
use crate::metrics;
use crate::store::{LogLimits, LogStart, StoreError};

/// How much of the log is read at once to catch up with other nodes; more is read in steps.
const READ_LIMITS: LogLimits = LogLimits {
    appends_max: 1_024,
    bytes_max: 4 << 20,
};

/// "There is something in your inbox", or "the time you asked for has come".
#[derive(Debug)]
pub(super) struct Wake;

/// "You left memory", sent by the supervisor.
#[derive(Debug)]
pub(super) struct Stop;

impl Message for Wake {
    type Result = ();
}

impl Message for Stop {
    type Result = ();
}

/// Updates that were under way when a replica failed, to be tried one by one.
pub(super) type Suspects = VecDeque<Suspect>;

#[derive(Debug)]
enum Phase {
    Loading,
    Ready(Box<Ready>),
    Retired,
}

/// One generation of a document's actor.
#[derive(Debug)]
pub(super) struct DocumentActor {
    cell: Arc<DocumentCell>,
    shared: Arc<Shared>,
    registry: WeakRegistry,
    generation: u64,
    suspects: Suspects,
    phase: Phase,
    timer: Option<(u64, SpawnHandle)>,
}

impl DocumentActor {
    pub(super) fn new(
        cell: Arc<DocumentCell>,
        shared: Arc<Shared>,
        registry: WeakRegistry,
        generation: u64,
        suspects: Suspects,
    ) -> Self {
        Self {
            cell,
            shared,
            registry,
            generation,
            suspects,
            phase: Phase::Loading,
            timer: None,
        }
    }

    fn is_current(&self) -> bool {
        self.cell.generation() == self.generation
    }

    fn loaded(
        &mut self,
        subscription: Option<Arc<dyn Subscription>>,
        loaded: Result<Loaded, StoreError>,
        context: &mut Context<Self>,
    ) {
        if !self.is_current() {
            return self.retire_quietly(context);
        }
        match loaded {
            Ok(loaded) => self.become_ready(subscription, loaded, context),
            Err(error) => {
                tracing::warn!(document = %self.cell.name, %error, "document cannot be loaded");
                metrics::load_failed();
                self.give_up(context);
            }
        }
    }

    /// The document is unavailable, never empty: its sessions are told to come back. What is to be stored
    /// again stays, for the next try.
    fn give_up(&mut self, context: &mut Context<Self>) {
        if self.cell.held().is_some() {
            for slot in self.cell.dismiss() {
                slot.end(CloseReason::Unavailable);
            }
            let suspects = std::mem::take(&mut self.suspects);
            return self.retire(suspects, Cause::Unloadable, context);
        }
        self.leave(CloseReason::Unavailable);
        self.retire_quietly(context);
    }

    /// Takes the cell out of memory and ends its sessions.
    fn leave(&self, reason: CloseReason) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(&self.cell);
        }
        for slot in self.cell.close() {
            slot.end(reason);
        }
    }

    /// Reads what other nodes appended behind this place.
    fn read_log(&self, after: Option<u64>, context: &mut Context<Self>) {
        let Some(after) = after else {
            return;
        };
        let (shared, name) = (self.shared.clone(), self.cell.name.clone());
        let read = async move {
            let start = LogStart::After(after);
            let range = shared.store.read_log(&name, start, READ_LIMITS).await?;
            Ok((range, load::owners(&shared, &name, after).await?))
        };
        let caught_up = read.into_actor(self).map(|range, actor, context| {
            if actor.is_current() {
                actor.run(context, |ready| ready.catch_up(range));
            }
        });
        context.spawn(caught_up);
    }

    fn become_ready(
        &mut self,
        subscription: Option<Arc<dyn Subscription>>,
        loaded: Loaded,
        context: &mut Context<Self>,
    ) {
        if let (Some(reason), true) = (&loaded.read_only, loaded.newly_quarantined) {
            tracing::error!(document = %self.cell.name, reason, "document quarantined");
            metrics::quarantined();
            self.write_quarantine(reason.clone(), context);
        }
        let ready = Ready::new(
            self.cell.clone(),
            self.shared.clone(),
            self.generation,
            subscription,
            loaded,
        );
        self.phase = Phase::Ready(Box::new(ready));
        self.cell.failed_loads.store(0, Ordering::Release);
        let is_replacement = self.generation > 1;
        let suspects = std::mem::take(&mut self.suspects);
        self.run(context, move |ready| ready.begin(is_replacement, suspects));
    }

    fn write_quarantine(&self, reason: String, context: &mut Context<Self>) {
        let (shared, name) = (self.shared.clone(), self.cell.name.clone());
        let write = async move {
            if let Err(error) = shared.store.set_quarantine(&name, Some(&reason)).await {
                tracing::warn!(document = %name, %error, "quarantine could not be written");
            }
        };
        context.spawn(write.into_actor(self));
    }

    /// Runs a turn behind the wall that contains panics.
    fn run(&mut self, context: &mut Context<Self>, turn: impl FnOnce(&mut Ready) -> TurnEnd) {
        let Phase::Ready(ready) = &mut self.phase else {
            return;
        };
        let now_ms = self.shared.clock.now_ms();
        self.cell.busy_since_ms.store(now_ms, Ordering::Release);
        let end = catch_unwind(AssertUnwindSafe(|| turn(ready)));
        if !self.is_current() {
            // Given up as stuck while it worked: the cell belongs to the next generation.
            return self.retire_quietly(context);
        }
        self.cell.busy_since_ms.store(0, Ordering::Release);
        match end {
            Ok(TurnEnd::Done {
                wake_at_ms,
                read_after,
            }) => {
                self.arm(wake_at_ms, context);
                self.read_log(read_after, context);
            }
            Ok(TurnEnd::DeletedElsewhere) => {
                self.leave(CloseReason::Deleted);
                self.retire_quietly(context);
            }
            Ok(TurnEnd::Deleting(reply)) => self.delete(reply, context),
            Ok(TurnEnd::Poisoned { suspects, guilty }) => {
                let cause = if guilty {
                    Cause::Explained
                } else {
                    Cause::Failed
                };
                self.retire(suspects, cause, context);
            }
            Ok(TurnEnd::LogLost) => self.rebuild(context),
            Ok(TurnEnd::Reload) => self.retire(Suspects::new(), Cause::Explained, context),
            Ok(TurnEnd::Unstorable) => self.retire(Suspects::new(), Cause::Unstorable, context),
            Err(_) => {
                tracing::error!(document = %self.cell.name, "document actor panicked");
                self.retire(Suspects::new(), Cause::Failed, context);
            }
        }
    }

    /// The log lacks what the replica holds: the next one is built from the log, and stores the rest.
    fn rebuild(&mut self, context: &mut Context<Self>) {
        tracing::warn!(
            document = %self.cell.name,
            "the log was taken back to an earlier state; what it lacks is stored again"
        );
        metrics::log_lost();
        if let Phase::Ready(ready) = &mut self.phase
            && let Some((state, owners)) = ready.state()
        {
            match self.shared.held_bytes.keep(state, owners) {
                // What was held before is part of it.
                Some(held) => self.cell.keep_held(Some(Arc::new(held))),
                None => tracing::error!(
                    document = %self.cell.name,
                    "too much waits to be stored again; what this document's log lacks is left to its \
                     clients (documents_resident_bytes_max)"
                ),
            }
        }
        self.retire(Suspects::new(), Cause::Explained, context);
    }

    /// Commits what waits, leaves a tombstone, ends all sessions.
    fn delete(&mut self, reply: super::turn::DeleteReply, context: &mut Context<Self>) {
        let Phase::Ready(ready) = std::mem::replace(&mut self.phase, Phase::Retired) else {
            return;
        };
        let (vector, subscription) = (ready.vector(), ready.subscription());
        let (shared, name) = (self.shared.clone(), self.cell.name.clone());
        let work = async move {
            shared.committer.wait_idle(&name).await;
            shared.store.delete(&name, &vector).await
        };
        let finish = work.into_actor(self).map(move |result, actor, context| {
            let reason = match &result {
                Ok(_) => CloseReason::Deleted,
                Err(_) => CloseReason::Unavailable,
            };
            if let (Ok(epoch), Some(subscription)) = (&result, subscription) {
                subscription.publish(Event::Deleted { epoch: *epoch });
            }
            actor.leave(reason);
            // The caller may be gone; the deletion stands.
            let _ = reply.send(result);
            actor.retire_quietly(context);
        });
        context.spawn(finish);
    }

    /// Hands the cell to a new actor.
    fn retire(&mut self, suspects: Suspects, cause: Cause, context: &mut Context<Self>) {
        // What was being handled is lost with the replica and comes again from its sender; what waited
        // behind it is as good as new.
        self.cell.inbox.give_back(self.generation);
        self.forget_replica();
        if let Some(registry) = self.registry.upgrade() {
            self.cell.await_successor(self.generation);
            registry.restart(&self.cell, Restart { suspects, cause });
        }
        context.stop();
    }

    fn retire_quietly(&mut self, context: &mut Context<Self>) {
        self.forget_replica();
        context.stop();
    }

    fn forget_replica(&mut self) {
        let phase = std::mem::replace(&mut self.phase, Phase::Retired);
        if let Phase::Ready(ready) = phase {
            // A replica that panicked half-way may panic again when it is taken apart.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(ready)));
        }
    }

    /// Makes sure that a turn runs at this time; an earlier one that is armed already does.
    fn arm(&mut self, wake_at_ms: Option<u64>, context: &mut Context<Self>) {
        let Some(at_ms) = wake_at_ms else {
            return;
        };
        if let Some((armed_ms, handle)) = self.timer {
            if armed_ms <= at_ms {
                return;
            }
            context.cancel_future(handle);
        }
        let delay_ms = at_ms.saturating_sub(self.shared.clock.now_ms()).max(1);
        let handle = context.run_later(Duration::from_millis(delay_ms), |actor, context| {
            actor.timer = None;
            actor.run(context, Ready::turn);
        });
        self.timer = Some((at_ms, handle));
    }
}

impl Actor for DocumentActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (shared, cell) = (self.shared.clone(), self.cell.clone());
        let is_replacement = self.generation > 1;
        let ear = Arc::new(Ear {
            cell: cell.clone(),
            generation: self.generation,
        });
        let load = async move {
            // Joined before the load: what is committed meanwhile is in one of the two.
            let subscription = match shared.bus.subscribe(&cell.name, ear).await {
                Ok(subscription) => Some(Arc::from(subscription)),
                Err(error) => {
                    tracing::warn!(document = %cell.name, %error, "other nodes are not heard");
                    None
                }
            };
            (
                subscription,
                load::load(&shared, &cell, is_replacement).await,
            )
        };
        let loaded = load
            .into_actor(self)
            .map(|(subscription, loaded), actor, context| {
                actor.loaded(subscription, loaded, context);
            });
        context.spawn(loaded);
    }
}

impl Handler<Wake> for DocumentActor {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        if !self.is_current() {
            return self.retire_quietly(context);
        }
        self.cell.take_wake();
        self.run(context, Ready::turn);
    }
}

impl Handler<Stop> for DocumentActor {
    type Result = ();

    fn handle(&mut self, _: Stop, context: &mut Self::Context) {
        self.retire_quietly(context);
    }
}
