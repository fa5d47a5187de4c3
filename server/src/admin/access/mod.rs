//! What operators do about access: see who is there, end sessions, have them judged anew, restrict.

use std::sync::Arc;

use super::operations::{DocumentOperations, OperationError, OperationFuture};
use crate::access::{Restriction, Selection};
use crate::actors::LiveSession;
use crate::auth::Right;

pub mod live;
pub mod stored;
pub mod wire;

/// Sessions in one answer; who sees more of them at once learns nothing from it.
pub const SESSIONS_MAX: usize = 1_000;

/// Everything that the admin socket can be asked for.
#[derive(Clone)]
pub struct Operations {
    /// About documents.
    pub documents: Arc<dyn DocumentOperations>,
    /// About access.
    pub access: Arc<dyn AccessOperations>,
}

impl std::fmt::Debug for Operations {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Operations").finish_non_exhaustive()
    }
}

/// What an operator can do about access. Sessions are those of a running server.
pub trait AccessOperations: Send + Sync + 'static {
    /// The sessions of this node that are selected.
    fn sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Sessions> {
        let _ = selection;
        Box::pin(std::future::ready(Err(stopped())))
    }

    /// Ends the selected sessions on all nodes; they may come back.
    fn end_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        let _ = selection;
        Box::pin(std::future::ready(Err(stopped())))
    }

    /// Has the selected sessions on all nodes granted their access anew, past what is remembered.
    fn check_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        let _ = selection;
        Box::pin(std::future::ready(Err(stopped())))
    }

    /// Makes a restriction; answers when it is durable and in force on this node.
    fn restrict(&self, new: NewRestriction) -> OperationFuture<'_, (Restriction, Effect)>;

    /// Up to `limit` restrictions in force with ids behind `after`, by id.
    fn restrictions<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> OperationFuture<'a, Vec<Restriction>>;

    /// Lifts a restriction; [`OperationError::NoRestriction`] when there is none of this id.
    fn lift<'a>(&'a self, id: &'a str) -> OperationFuture<'a, Effect>;
}

fn stopped() -> OperationError {
    OperationError::Refused("no server runs on this data folder, so it has no sessions".to_owned())
}

/// Sessions that were selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// The first [`SESSIONS_MAX`] of them, by document and age.
    pub sessions: Vec<LiveSession>,
    /// How many there are.
    pub total: usize,
}

/// A restriction to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRestriction {
    /// Whom it concerns.
    pub on: Selection,
    /// The most they may do.
    pub right_max: Right,
    /// How long it lasts; for ever when left out.
    pub for_ms: Option<u64>,
    /// Who comes with a token that is issued from now on is not concerned.
    pub old_tokens_only: bool,
    /// Why, for people.
    pub reason: String,
}

impl NewRestriction {
    /// The restriction from now on, if it makes sense.
    fn made(self, now_ms: u64) -> Result<Restriction, OperationError> {
        let restriction = Restriction {
            id: Restriction::new_id(),
            on: self.on,
            right_max: self.right_max,
            since_ms: now_ms,
            until_ms: self.for_ms.map(|for_ms| now_ms.saturating_add(for_ms)),
            issued_before_ms: self.old_tokens_only.then_some(now_ms),
            reason: self.reason,
        };
        let checked = restriction.check();
        checked.map_err(|error| OperationError::Refused(error.to_string()))?;
        Ok(restriction)
    }
}

/// Whom a change has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Sessions of this node.
    pub sessions: usize,
    /// The others.
    pub nodes: Nodes,
}

/// How other nodes learn of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// There are none.
    Alone,
    /// They were told over the bus.
    Told,
    /// They find it in the store when they look next.
    Later,
    /// They do not.
    Untold,
}

/// A page of restrictions in force.
fn page(
    restrictions: Vec<Restriction>,
    after: Option<&str>,
    limit: usize,
    now_ms: u64,
) -> Vec<Restriction> {
    let is_wanted = |one: &Restriction| {
        !one.is_over(now_ms) && after.is_none_or(|after| one.id.as_str() > after)
    };
    let wanted = restrictions.into_iter().filter(is_wanted);
    wanted.take(limit).collect()
}

/// Refuses what selects everybody.
fn check(selection: &Selection) -> Result<(), OperationError> {
    let checked = selection.check();
    checked.map_err(|error| OperationError::Refused(error.to_string()))
}
