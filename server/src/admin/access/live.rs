//! Access on a running server: the store, its keeper, and the sessions that are there.

use std::sync::Arc;

use super::stored::StoredAccess;
use super::{AccessOperations, Effect, NewRestriction, Nodes, SESSIONS_MAX, Sessions, check};
use crate::access::{Keeper, Reach, Restriction, Selection};
use crate::admin::operations::{OperationError, OperationFuture};

/// Access on the node that a keeper looks after.
#[derive(Debug)]
pub struct LiveAccess {
    keeper: Arc<Keeper>,
    stored: StoredAccess,
}

impl LiveAccess {
    /// Over the store that the keeper reads.
    pub fn new(keeper: Arc<Keeper>, stored: StoredAccess) -> Self {
        Self { keeper, stored }
    }

    /// The store was changed: holds all nodes to it.
    async fn changed(&self) -> Result<Effect, OperationError> {
        let (sessions, reach) = self.keeper.changed().await.map_err(|error| {
            let told = format!("it is stored, and not yet in force on this node: {error}");
            OperationError::Unavailable(told)
        })?;
        let nodes = match reach {
            Reach::Alone => Nodes::Alone,
            Reach::Told => Nodes::Told,
            Reach::Untold => Nodes::Later,
        };
        Ok(Effect { sessions, nodes })
    }
}

impl AccessOperations for LiveAccess {
    fn sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Sessions> {
        let registry = self.keeper.registry();
        let mut sessions = registry.sessions(|visitor| selection.covers(visitor));
        let total = sessions.len();
        sessions.sort_by(|a, b| (&a.document, a.since_ms).cmp(&(&b.document, b.since_ms)));
        sessions.truncate(SESSIONS_MAX);
        Box::pin(std::future::ready(Ok(Sessions { sessions, total })))
    }

    fn end_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        Box::pin(async move {
            check(selection)?;
            let effect = momentary(self.keeper.end(selection.clone()).await);
            tracing::info!(
                ?selection,
                sessions = effect.sessions,
                "an operator ended sessions"
            );
            Ok(effect)
        })
    }

    fn check_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        Box::pin(async move {
            check(selection)?;
            let effect = momentary(self.keeper.recheck(selection.clone()).await);
            tracing::info!(
                ?selection,
                sessions = effect.sessions,
                "an operator had sessions checked"
            );
            Ok(effect)
        })
    }

    fn restrict(&self, new: NewRestriction) -> OperationFuture<'_, (Restriction, Effect)> {
        Box::pin(async move {
            let (restriction, _) = self.stored.restrict(new).await?;
            let effect = self.changed().await?;
            tracing::info!(
                ?restriction,
                sessions = effect.sessions,
                "an operator restricted access"
            );
            Ok((restriction, effect))
        })
    }

    fn restrictions<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> OperationFuture<'a, Vec<Restriction>> {
        self.stored.restrictions(after, limit)
    }

    fn lift<'a>(&'a self, id: &'a str) -> OperationFuture<'a, Effect> {
        Box::pin(async move {
            self.stored.lift(id).await?;
            let effect = self.changed().await?;
            tracing::info!(
                id,
                sessions = effect.sessions,
                "an operator lifted a restriction"
            );
            Ok(effect)
        })
    }
}

/// What is done now or never.
fn momentary((sessions, reach): (usize, Reach)) -> Effect {
    let nodes = match reach {
        Reach::Alone => Nodes::Alone,
        Reach::Told => Nodes::Told,
        Reach::Untold => Nodes::Untold,
    };
    Effect { sessions, nodes }
}
