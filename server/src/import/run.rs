//! The way of all documents from a source into a store: one after the other, committed in batches.

use bytes::Bytes;
use driftless_proto::admission::{Refusal, StateVector};
use driftless_proto::name::DocumentName;

use super::content::{Content, Gathered, Relation, gather, merged, relation};
use super::rehearsal::Rehearsal;
use super::report::{NoteKind, Progress};
use super::{NameRules, SOURCE_BYTES_FACTOR, Source, SourceError};
use crate::clock::Clock;
use crate::store::{
    Append, AppendId, CommitOutcome, LoadedDocument, LogPoint, Origin, Store, StoreError,
    StoredAppend,
};

/// Documents and bytes in one commit: enough that its flush to disk does not count, little enough
/// that a stopped import loses a second's work and that live documents wait for no long commit.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Which documents, under which names.
    pub names: NameRules,
    /// Also into documents that have other content.
    pub merge: bool,
    /// Leave behind edits that need what is nowhere to be found.
    pub drop_pending: bool,
    /// The largest state of a document in bytes.
    pub document_bytes_max: usize,
    /// Whose edits they are, in the log of each document: `import hocuspocus`.
    pub door: String,
}

/// Why an import ended early. What was imported until then stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A dry run has no room to note what it would write.
    #[error(
        "the dry run cannot note what it would write: {0}; give it room in the folder of TMPDIR"
    )]
    Rehearsal(#[from] sqlx::Error),
}

/// Imports all documents of `source` into `target`. Those that cannot be imported are noted in
/// `progress`, and the others go on. Without a target, and with `dry_run`, nothing is written.
pub async fn import(
    source: &mut dyn Source,
    target: Option<&dyn Store>,
    dry_run: bool,
    options: &ImportOptions,
    progress: &Progress,
) -> Result<(), ImportError> {
    let survey = source.survey().await?;
    progress.count(|counts| {
        counts.total_documents = survey.documents;
        counts.total_bytes = survey.bytes;
    });
    let rehearsal = match target {
        Some(_) if !dry_run => None,
        _ => Some(Rehearsal::start().await?),
    };
    let mut work = Work {
        target,
        rehearsal,
        options,
        progress,
        clock: Clock::start(),
    };
    let mut batch = Vec::new();
    while let Some(name) = source.next().await? {
        if !options.names.selects(&name) {
            work.progress.count(|counts| {
                counts.left_out += 1;
                counts.documents += 1;
            });
            continue;
        }
        work.take(source, name, &mut batch).await?;
        let bytes: usize = batch.iter().map(|it: &Planned| it.update.len()).sum();
        if batch.len() >= BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
            work.write(std::mem::take(&mut batch)).await?;
        }
        progress.count(|counts| counts.documents += 1);
    }
    work.write(batch).await?;
    match work.rehearsal {
        Some(rehearsal) => Ok(rehearsal.end().await?),
        None => Ok(()),
    }
}

/// A document that is to be written.
#[derive(Debug)]
struct Planned {
    /// Its name in the source, for reports.
    source_name: String,
    name: DocumentName,
    /// What to append.
    update: Bytes,
    /// What the target holds then.
    expected: Content,
    epoch: u64,
    after: Option<LogPoint>,
    is_merge: bool,
}

/// What becomes of a document.
enum Verdict {
    Write(Box<Planned>),
    /// The target has it; `true`: exactly it.
    There(bool),
    Not(NoteKind, String),
}

struct Work<'a> {
    target: Option<&'a dyn Store>,
    /// There when nothing is written.
    rehearsal: Option<Rehearsal>,
    options: &'a ImportOptions,
    progress: &'a Progress,
    clock: Clock,
}

impl Work<'_> {
    /// Reads one document of the source and decides what becomes of it.
    async fn take(
        &mut self,
        source: &mut dyn Source,
        source_name: String,
        batch: &mut Vec<Planned>,
    ) -> Result<(), ImportError> {
        let progress = self.progress;
        let refuse = |text: String| progress.note(&source_name, NoteKind::Refused, text);
        let name = match self.options.names.apply(&source_name) {
            Ok(name) => name,
            Err(error) => {
                refuse(error.to_string());
                return Ok(());
            }
        };
        let bytes_max = self.options.document_bytes_max;
        let updates = source.read(bytes_max.saturating_mul(SOURCE_BYTES_FACTOR));
        let updates = match updates.await? {
            Ok(updates) => updates,
            Err(reason) => {
                refuse(reason);
                return Ok(());
            }
        };
        let bytes: u64 = updates.iter().map(|update| update.len() as u64).sum();
        self.progress.count(|counts| counts.bytes += bytes);
        let gathered = contained(move || gather(updates, bytes_max)).await;
        let gathered = match gathered.and_then(|gathered| gathered) {
            Ok(gathered) => gathered,
            Err(reason) => {
                refuse(reason);
                return Ok(());
            }
        };
        let Some(content) = self.whole(&source_name, gathered) else {
            return Ok(());
        };
        // The verdict rests on what is stored, so a twin of the batch has to be stored first.
        if batch.iter().any(|planned| planned.name == name) {
            self.write(std::mem::take(batch)).await?;
        }
        match self.judge(&source_name, name, content).await? {
            Verdict::Write(planned) => batch.push(*planned),
            Verdict::There(is_equal) => self.progress.count(|counts| {
                counts.unchanged += 1;
                match is_equal {
                    true => counts.equal += 1,
                    false => counts.contained += 1,
                }
            }),
            Verdict::Not(kind, text) => self.progress.note(&source_name, kind, text),
        }
        Ok(())
    }

    /// The content, if it may come over as it is.
    fn whole(&self, source_name: &str, gathered: Gathered) -> Option<Content> {
        const PENDING: &str = "some of its edits need others that are not stored there";
        if gathered.is_partial {
            if !self.options.drop_pending {
                let text = format!(
                    "{PENDING}; what its users see is whole: --drop-pending imports that and leaves \
                     the rest behind"
                );
                self.progress.note(source_name, NoteKind::Refused, text);
                return None;
            }
            let text = format!("{PENDING}; they were left behind");
            self.progress.note(source_name, NoteKind::Partial, text);
        }
        if gathered.content.is_empty() {
            self.progress.count(|counts| counts.empty += 1);
            return None;
        }
        Some(gathered.content)
    }

    async fn judge(
        &mut self,
        source_name: &str,
        name: DocumentName,
        source: Content,
    ) -> Result<Verdict, ImportError> {
        let stored = self.load(&name).await?;
        if let Some(reason) = stored.quarantine.as_ref().or(stored.damage.as_ref()) {
            let text = format!(
                "the target's document is read-only: {reason}; see `driftless doc verify`, \
                 `repair` and `release`"
            );
            return Ok(Verdict::Not(NoteKind::Refused, text));
        }
        let (epoch, after) = (stored.epoch, newest(&stored));
        let may_merge = self.options.merge;
        let plan = contained(move || plan(&source, &stored, may_merge)).await;
        Ok(match plan.and_then(|plan| plan) {
            Err(reason) => Verdict::Not(NoteKind::Refused, reason),
            Ok(Plan::Not(kind, text)) => Verdict::Not(kind, text),
            Ok(Plan::There(is_equal)) => Verdict::There(is_equal),
            Ok(Plan::Append {
                update,
                expected,
                is_merge,
            }) => Verdict::Write(Box::new(Planned {
                source_name: source_name.to_owned(),
                name,
                update,
                expected,
                epoch,
                after,
                is_merge,
            })),
        })
    }

    /// What the target holds of a document, or would by now.
    async fn load(&mut self, name: &DocumentName) -> Result<LoadedDocument, ImportError> {
        let mut stored = match self.target {
            Some(target) => target.load(name).await?,
            None => absent(),
        };
        if let Some(rehearsal) = &mut self.rehearsal {
            let planned = rehearsal.updates(name).await?;
            stored.appends.extend(planned.into_iter().map(as_if_stored));
        }
        Ok(stored)
    }

    /// Commits a batch and reads it back, or only notes it.
    async fn write(&mut self, batch: Vec<Planned>) -> Result<(), ImportError> {
        if let Some(rehearsal) = &mut self.rehearsal {
            for planned in &batch {
                rehearsal.put(&planned.name, &planned.update).await?;
                self.progress.count(|counts| {
                    counts.imported += 1;
                    counts.merged += u64::from(planned.is_merge);
                });
            }
            return Ok(());
        }
        let (Some(target), false) = (self.target, batch.is_empty()) else {
            return Ok(());
        };
        let appends: Vec<Append> = batch.iter().map(|planned| self.append(planned)).collect();
        let outcomes = target.commit(&appends).await?;
        drop(appends);
        target.after_commit().await?;
        for (planned, outcome) in batch.into_iter().zip(outcomes) {
            if !matches!(outcome, CommitOutcome::Committed { .. }) {
                let text = "the target's document was changed at the same moment; import again";
                self.progress
                    .note(&planned.source_name, NoteKind::Conflict, text);
                continue;
            }
            self.progress.count(|counts| {
                counts.imported += 1;
                counts.merged += u64::from(planned.is_merge);
            });
            self.read_back(target, planned).await?;
        }
        Ok(())
    }

    fn append(&self, planned: &Planned) -> Append {
        Append {
            document: planned.name.clone(),
            epoch: planned.epoch,
            id: fastrand::u128(..).to_be_bytes(),
            origin: Origin {
                identity: None,
                door: self.options.door.clone(),
            },
            time_ms: self.clock.wall_ms(),
            update: planned.update.clone(),
            after: planned.after,
            claims: Vec::new(),
        }
    }

    /// Compares what the store gives with what it was given. Live nodes may have added to it.
    async fn read_back(&self, target: &dyn Store, planned: Planned) -> Result<(), ImportError> {
        let Planned {
            source_name,
            name,
            expected,
            ..
        } = planned;
        let stored = target.load(&name).await?;
        let compared = contained(move || {
            if expected.is_stored_as(&stored) {
                return Ok(Relation::Equal);
            }
            let read = Content::of_stored(&stored)?;
            relation(&expected, &read)
        });
        match compared.await.and_then(|relation| relation) {
            Ok(Relation::Equal) => self.progress.count(|counts| counts.equal += 1),
            Ok(Relation::TargetHasMore) => self.progress.count(|counts| counts.contained += 1),
            Ok(_) => {
                let text = "what was read back is not what was written; see `driftless doc verify`";
                self.progress.note(&source_name, NoteKind::Differing, text);
            }
            Err(reason) => self
                .progress
                .note(&source_name, NoteKind::Differing, reason),
        }
        Ok(())
    }
}

/// What is to be done with a document, judged against what the target holds.
#[derive(Debug)]
enum Plan {
    Append {
        update: Bytes,
        expected: Content,
        is_merge: bool,
    },
    There(bool),
    Not(NoteKind, String),
}

fn plan(source: &Content, stored: &LoadedDocument, may_merge: bool) -> Result<Plan, String> {
    const CONFLICT: &str = "the target's document has other content";
    if source.is_stored_as(stored) {
        return Ok(Plan::There(true));
    }
    let target = Content::of_stored(stored)
        .map_err(|reason| format!("the target's document cannot be read: {reason}"))?;
    let relation = match target.is_empty() {
        true => Relation::SourceHasMore,
        false => relation(source, &target)?,
    };
    let conflict = |text: String| Ok(Plan::Not(NoteKind::Conflict, text));
    match relation {
        Relation::Equal => return Ok(Plan::There(true)),
        Relation::TargetHasMore => return Ok(Plan::There(false)),
        Relation::Clash => {
            return conflict(format!(
                "{CONFLICT} under the same ids, and cannot be merged; import it under another name \
                 with --add-prefix"
            ));
        }
        Relation::BothHaveMore if !may_merge => {
            return conflict(format!("{CONFLICT}; --merge merges both"));
        }
        Relation::BothHaveMore | Relation::SourceHasMore => {}
    }
    let tombstone = stored.tombstone.as_deref().map(StateVector::decode);
    let tombstone = tombstone.transpose();
    let tombstone = tombstone.map_err(|refusal| format!("the tombstone is damaged: {refusal}"))?;
    let update = source.beyond(&target, tombstone.as_ref());
    let update = update.map_err(|refusal| match refusal {
        Refusal::Deleted => "it was deleted in the target, and a deleted document does not come \
                             back; import it under another name with --add-prefix"
            .to_owned(),
        other => format!("it cannot be taken: {other}"),
    })?;
    match update {
        None => Ok(Plan::There(false)),
        Some(update) => Ok(Plan::Append {
            update,
            expected: match target.is_empty() {
                true => source.clone(),
                false => merged(source, &target)?,
            },
            is_merge: relation == Relation::BothHaveMore,
        }),
    }
}

/// What a document that was never written loads as.
fn absent() -> LoadedDocument {
    LoadedDocument {
        epoch: 1,
        head: 0,
        snapshot: None,
        appends: Vec::new(),
        quarantine: None,
        damage: None,
        tombstone: None,
    }
}

/// An update of a dry run; nothing is committed behind it, so that its place and id do not count.
fn as_if_stored(update: Bytes) -> StoredAppend {
    StoredAppend {
        sequence: 0,
        id: AppendId::default(),
        origin: Origin::default(),
        time_ms: 0,
        update,
    }
}

fn newest(stored: &LoadedDocument) -> Option<LogPoint> {
    let last = stored.appends.last()?;
    Some(LogPoint {
        sequence: last.sequence,
        id: last.id,
    })
}

/// Runs heavy work beside the progress line; a panic in it becomes a reason.
async fn contained<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| "it makes the CRDT library panic".to_owned())
}
