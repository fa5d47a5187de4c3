//! Access as the store of a stopped server has it.

use std::sync::Arc;

use super::{AccessOperations, Effect, NewRestriction, Nodes, page};
use crate::access::Restriction;
use crate::admin::operations::{OperationError, OperationFuture};
use crate::clock::Clock;
use crate::store::Store;

/// Restrictions in a store, without a server.
#[derive(Debug)]
pub struct StoredAccess {
    store: Arc<dyn Store>,
    clock: Clock,
}

impl StoredAccess {
    /// Over this store.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    fn effect(&self) -> Effect {
        let nodes = match self.store.is_shared() {
            true => Nodes::Later,
            false => Nodes::Alone,
        };
        Effect { sessions: 0, nodes }
    }
}

impl AccessOperations for StoredAccess {
    fn restrict(&self, new: NewRestriction) -> OperationFuture<'_, (Restriction, Effect)> {
        Box::pin(async move {
            let restriction = new.made(self.clock.wall_ms())?;
            let made = std::slice::from_ref(&restriction);
            self.store.put_restrictions(made).await?;
            Ok((restriction, self.effect()))
        })
    }

    fn restrictions<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> OperationFuture<'a, Vec<Restriction>> {
        Box::pin(async move {
            let all = self.store.restrictions().await?;
            Ok(page(all, after, limit, self.clock.wall_ms()))
        })
    }

    fn lift<'a>(&'a self, id: &'a str) -> OperationFuture<'a, Effect> {
        Box::pin(async move {
            match self.store.remove_restriction(id).await? {
                true => Ok(self.effect()),
                false => Err(OperationError::NoRestriction),
            }
        })
    }
}
