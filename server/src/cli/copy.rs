//! `driftless store copy`: all documents of one store into another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::print::{safe, size};
use super::progress::{Standing, Watch, watched};
use super::target::{missing, run};
use super::{Context, EXIT_DAMAGED, EXIT_REFUSED, EXIT_USAGE, Failure, files, print};
use crate::admin::OperationError;
use crate::backends::postgres_options;
use crate::config::kinds::{Kind, SecretUrl, StoreUrl};
use crate::config::{Settings, StoreLocation};
use crate::store::StoreError;
use crate::store::copy::{self, CopyEnd, FailureKind, Progress, Summary};
use crate::store::data_folder::{DATABASE_FILE_NAME, DataFolder};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;

/// A store that is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The embedded database of this data folder.
    Folder(PathBuf),
    Postgres(SecretUrl),
}

/// An open store.
pub(super) struct End {
    pub(super) store: Arc<dyn CopyEnd>,
    cluster_id: Option<String>,
}

/// Copies, and tells what came of it.
pub(super) fn perform(
    from: &str,
    to: Option<&str>,
    settings: &Settings,
    as_json: bool,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let from = place("--from", from, settings)?;
    let to = match to {
        Some(to) => place("--to", to, settings)?,
        None => of_settings(settings),
    };
    refuse_same(&from, &to)?;
    let progress = Progress::default();
    let begun = Instant::now();
    run(copy_between(
        &from,
        &to,
        settings,
        &progress,
        context.watch(),
    ))?;
    let (summary, failures) = (progress.summary(), progress.failures());
    if as_json {
        print::json(&summary_json(&summary, &failures), context.output)?;
    } else {
        let text = summary_text(&summary, &failures, begun.elapsed());
        files::print(text.as_bytes(), context.output)?;
    }
    if summary.failed == 0 {
        return Ok(());
    }
    let is_conflict = |it: &copy::Failure| it.kind == FailureKind::Conflict;
    let code = match failures.iter().all(is_conflict) {
        true => EXIT_REFUSED,
        false => EXIT_DAMAGED,
    };
    let told = format!("{} documents were not copied", summary.failed);
    Err(Failure::new(code, told))
}

/// The store of the settings.
pub(super) fn of_settings(settings: &Settings) -> Place {
    match &settings.store {
        StoreLocation::Sqlite => Place::Folder(settings.data.clone()),
        StoreLocation::Postgres(url) => Place::Postgres(url.clone()),
    }
}

/// Reads a store's name; what cannot be read is not repeated, as it may hold a password.
fn place(flag: &str, text: &str, settings: &Settings) -> Result<Place, Failure> {
    match text.strip_prefix("sqlite:") {
        Some("") => return Ok(Place::Folder(settings.data.clone())),
        Some(path) => return Ok(Place::Folder(PathBuf::from(path))),
        None => {}
    }
    match StoreUrl::parse(text) {
        Ok(StoreLocation::Postgres(url)) => Ok(Place::Postgres(url)),
        _ => Err(Failure::new(
            EXIT_USAGE,
            format!(
                "{flag} is no store: write `sqlite:PATH` of a data folder, or \
                 postgres://user:password@host:5432/database"
            ),
        )),
    }
}

fn refuse_same(from: &Place, to: &Place) -> Result<(), Failure> {
    let is_same = match (from, to) {
        (Place::Folder(from), Place::Folder(to)) => {
            let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            real(from) == real(to)
        }
        _ => from == to,
    };
    match is_same {
        true => Err(same()),
        false => Ok(()),
    }
}

fn same() -> Failure {
    let told = "--from and --to are the same store; name another with --to";
    Failure::new(EXIT_USAGE, told)
}

async fn copy_between(
    from: &Place,
    to: &Place,
    settings: &Settings,
    progress: &Progress,
    watch: Watch<'_>,
) -> Result<(), Failure> {
    if let Place::Folder(path) = from
        && !path.join(DATABASE_FILE_NAME).exists()
    {
        return Err(missing(path));
    }
    let told = |error: StoreError| Failure::from(OperationError::from(error));
    let source = open(from, settings).await.map_err(told)?;
    let target = open(to, settings).await.map_err(told)?;
    if source.cluster_id.is_some() && source.cluster_id == target.cluster_id {
        return Err(same());
    }
    let copied = {
        let copying = copy::copy(&*source.store, &*target.store, progress);
        let standing = |elapsed| standing(&progress.summary(), elapsed);
        watched(copying, standing, watch).await
    };
    let closed = (target.store.close().await, source.store.close().await);
    copied.map_err(|error| {
        let failure = told(error);
        let message = failure.message;
        let hint = "what is copied stays; run the same command again to go on";
        Failure::new(failure.code, format!("{message}; {hint}"))
    })?;
    closed.0.and(closed.1).map_err(told)
}

/// Opens a store; a data folder is locked, and refused while a server runs on it.
pub(super) async fn open(place: &Place, settings: &Settings) -> Result<End, StoreError> {
    match place {
        Place::Folder(path) => {
            let folder = DataFolder::open(path)?;
            let store = Arc::new(SqliteStore::open(&folder).await?);
            Ok(End {
                store,
                cluster_id: None,
            })
        }
        Place::Postgres(url) => {
            let store = PostgresStore::open(&postgres_options(settings, url.reveal())).await?;
            let cluster_id = Some(store.cluster_id().to_owned());
            Ok(End {
                store: Arc::new(store),
                cluster_id,
            })
        }
    }
}

fn standing(now: &Summary, elapsed: Duration) -> Standing {
    let done = now.copied + now.skipped + now.failed;
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    Standing {
        percent: Standing::percent(now.done_bytes, now.total_bytes),
        text: format!(
            "{done} of {} documents, {} of {}, {rate:.0} documents/s",
            now.total_documents,
            size(now.done_bytes),
            size(now.total_bytes),
        ),
    }
}

fn summary_text(summary: &Summary, failures: &[copy::Failure], elapsed: Duration) -> String {
    let mut text = String::new();
    for one in failures {
        text += &format!(
            "NOT COPIED {}: {}\n",
            safe(one.document.as_str()),
            safe(&one.text)
        );
    }
    let unnamed = summary.failed - failures.len() as u64;
    if unnamed > 0 {
        text += &format!("… and {unnamed} more\n");
    }
    let Summary {
        total_documents,
        copied,
        skipped,
        copied_bytes,
        restrictions,
        ..
    } = summary;
    if *restrictions > 0 {
        text += &format!("copied {restrictions} restrictions of access\n");
    }
    text + &format!(
        "copied {copied} of {total_documents} documents ({}) in {:.1} s and read them back; \
         {skipped} were equal already\n",
        size(*copied_bytes),
        elapsed.as_secs_f64(),
    )
}

fn summary_json(summary: &Summary, failures: &[copy::Failure]) -> serde_json::Value {
    let kind = |kind| match kind {
        FailureKind::Damaged => "damaged",
        FailureKind::Conflict => "conflict",
        FailureKind::Unequal => "unequal",
    };
    let failures = failures.iter().map(|one| {
        json!({ "document": one.document.as_str(), "kind": kind(one.kind), "text": one.text })
    });
    json!({
        "documents": summary.total_documents,
        "copied": summary.copied,
        "copied_bytes": summary.copied_bytes,
        "equal": summary.skipped,
        "failed": summary.failed,
        "restrictions": summary.restrictions,
        "failures": failures.collect::<Vec<_>>(),
    })
}
