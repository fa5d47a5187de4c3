//! fake
use super::*;
use std::sync::Arc;
pub trait CommitListener: Send + Sync + std::fmt::Debug {
    fn on_committed(&self, version: u64, sequence: u64);
    fn on_refused(&self, version: u64, outcome: CommitOutcome);
}
#[derive(Debug)]
pub struct PendingAppend {
    pub append: Append,
    pub version: u64,
    pub listener: Arc<dyn CommitListener>,
}
#[derive(Debug, Clone)]
pub struct Committer;
impl Committer {
    pub fn submit(&self, _p: PendingAppend) {}
    pub fn has_room(&self) -> bool {
        true
    }
    pub async fn wait_idle(&self, _n: &DocumentName) {}
}
