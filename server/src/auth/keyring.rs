//! All keys of this server, and the decision by token.

use std::sync::Arc;

use super::claims::Claims;
use super::keys::KeySet;
use super::source::{Look, Source};
use super::time::TimeSource;
use super::verify::{self, Failure, Rules};
use super::worker::Worker;
use super::{Denial, Grant, Question, Trouble};

/// Fixed keys, those of a file and those of a URL.
#[derive(Debug)]
pub(super) struct KeyRing {
    fixed: Arc<KeySet>,
    sources: Vec<Arc<Source>>,
    rules: Rules,
    /// There when a source is.
    worker: Option<Worker>,
}

impl KeyRing {
    /// Starts to keep the sources fresh.
    pub(super) fn start(
        fixed: KeySet,
        sources: Vec<Source>,
        rules: Rules,
        time: &Arc<dyn TimeSource>,
    ) -> std::io::Result<Self> {
        let sources: Vec<_> = sources.into_iter().map(Arc::new).collect();
        let worker = match sources.is_empty() {
            true => None,
            false => Some(Worker::start()?),
        };
        for (source, worker) in sources.iter().zip(worker.iter().cycle()) {
            worker.spawn(source.clone().keep_fresh(time.clone()));
        }
        Ok(Self {
            fixed: Arc::new(fixed),
            sources,
            rules,
            worker,
        })
    }

    /// Ready at the first poll unless the token names a key that has to be looked for.
    pub(super) async fn decide(
        &self,
        question: &Question,
        time: &Arc<dyn TimeSource>,
    ) -> Result<Grant, Denial> {
        let token = question.token.as_ref().map_or("", |token| token.reveal());
        if token.is_empty() {
            return Err(Denial::TokenMissing);
        }
        let claims = self.authentic(token, time).await?;
        verify::in_force(&claims, &self.rules, time.wall_ms())?;
        verify::grant(claims, question.document.as_str())
    }

    async fn authentic(&self, token: &str, time: &Arc<dyn TimeSource>) -> Result<Claims, Denial> {
        match verify::authentic(token, &self.keys(time.now_ms())) {
            Ok(claims) => return Ok(claims),
            Err(Failure::Final(denial)) => return Err(denial),
            Err(Failure::KeyMissing(denial)) if self.sources.is_empty() => return Err(denial),
            Err(Failure::KeyMissing(_)) => {}
        }
        let skipped = self.look(time).await;
        match verify::authentic(token, &self.keys(time.now_ms())) {
            Ok(claims) => Ok(claims),
            Err(Failure::Final(denial)) => Err(denial),
            Err(Failure::KeyMissing(denial)) => Err(self.without_key(denial, skipped)),
        }
    }

    /// Every source looks for newer keys, if it may; returns whether one was skipped.
    async fn look(&self, time: &Arc<dyn TimeSource>) -> bool {
        let Some(worker) = &self.worker else {
            return false;
        };
        let looks = self.sources.iter().map(|it| it.look(worker, time));
        let looks: Vec<_> = looks.collect();
        let mut skipped = false;
        for look in looks {
            match look {
                // An error means that the worker is gone: the keys are what they are.
                Look::UnderWay(mut ended) => drop(ended.changed().await),
                Look::TooSoon => skipped = true,
                Look::Known => {}
            }
        }
        skipped
    }

    /// The key may exist although it was not found.
    fn without_key(&self, denial: Denial, skipped: bool) -> Denial {
        if self.sources.iter().any(|source| source.may_lack_keys()) {
            return Denial::Unavailable(Trouble::Keys);
        }
        match skipped {
            true => Denial::Unavailable(Trouble::KeysRecent),
            false => denial,
        }
    }

    fn keys(&self, now_ms: u64) -> Vec<Arc<KeySet>> {
        let found = self.sources.iter().filter_map(|it| it.keys(now_ms));
        std::iter::once(self.fixed.clone()).chain(found).collect()
    }
}
