//! `driftless import`: documents of other servers into the store of the settings.

mod arguments;
mod told;

use std::time::{Duration, Instant};

pub(super) use arguments::{IMPORT_HELP, ImportArguments};

use self::arguments::SourceArguments;
use super::copy::{self, End, Place};
use super::print::size;
use super::progress::{Standing, Watch, watched};
use super::target::run;
use super::{
    Context, EXIT_DAMAGED, EXIT_FAILED, EXIT_NOT_FOUND, EXIT_REFUSED, EXIT_UNAVAILABLE, Failure,
    files, print,
};
use crate::admin::OperationError;
use crate::backends::postgres_options;
use crate::config::kinds::{Kind, StoreUrl};
use crate::config::{Settings, StoreLocation};
use crate::import::hocuspocus::{PostgresTable, SqliteTable, Table};
use crate::import::update_files::UpdateFiles;
use crate::import::y_sweet::YSweetFolder;
use crate::import::y_websocket::YLeveldbFolder;
use crate::import::{
    self, Counts, ImportError, ImportOptions, NameRules, Pattern, Progress, Source, SourceError,
};
use crate::store::data_folder::DATABASE_FILE_NAME;
use crate::store::schema::SchemaReport;
use crate::store::{StoreError, postgres, sqlite};

/// Imports, and tells what came of it.
pub(super) fn perform(
    wanted: &ImportArguments,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let options = options(wanted, settings);
    let progress = Progress::default();
    let begun = Instant::now();
    let outcome = run(import_all(
        wanted,
        &options,
        settings,
        &progress,
        context.watch(),
    ));
    let report = progress.report();
    let value = told::as_json(&report, &options.door, wanted.dry_run);
    // What was done until an error is worth a report, too.
    let written = wanted.report.as_ref().map_or(Ok(()), |file| {
        let text = format!("{value:#}\n");
        files::write(file, text.as_bytes())
    });
    outcome?;
    if wanted.json {
        print::json(&value, context.output)?;
    } else {
        let text = told::as_text(&report, wanted.dry_run, begun.elapsed());
        files::print(text.as_bytes(), context.output)?;
    }
    written?;
    verdict(&report.counts)
}

/// Whether every document came over.
fn verdict(counts: &Counts) -> Result<(), Failure> {
    if counts.failed() == 0 {
        return Ok(());
    }
    let code = match counts.differing {
        0 => EXIT_REFUSED,
        _ => EXIT_DAMAGED,
    };
    let told = match counts.failed() {
        1 => "1 document did not come over".to_owned(),
        many => format!("{many} documents did not come over"),
    };
    Err(Failure::new(code, told))
}

fn options(wanted: &ImportArguments, settings: &Settings) -> ImportOptions {
    let (door, are_raw_paths) = match &wanted.source {
        SourceArguments::Hocuspocus { .. } => ("hocuspocus", false),
        SourceArguments::YSweet { .. } => ("y-sweet", false),
        SourceArguments::YWebsocket { plain_names, .. } => ("y-websocket", !plain_names),
        SourceArguments::Updates { .. } => ("updates", true),
    };
    ImportOptions {
        names: NameRules {
            only: wanted.only.as_deref().map(Pattern::new),
            are_raw_paths,
            strip_prefix: wanted.strip_prefix.clone(),
            add_prefix: wanted.add_prefix.clone(),
        },
        merge: wanted.merge,
        drop_pending: wanted.drop_pending,
        document_bytes_max: usize::try_from(settings.document_bytes_max).unwrap_or(usize::MAX),
        door: format!("import {door}"),
    }
}

async fn import_all(
    wanted: &ImportArguments,
    options: &ImportOptions,
    settings: &Settings,
    progress: &Progress,
    watch: Watch<'_>,
) -> Result<(), Failure> {
    let mut source = open_source(&wanted.source).await.map_err(told_source)?;
    let target = open_target(settings, wanted.dry_run).await?;
    let store = target.as_ref().map(|end| &*end.store);
    let outcome = {
        let importing = import::import(
            &mut *source,
            store.map(|store| store as _),
            wanted.dry_run,
            options,
            progress,
        );
        let standing = |elapsed| standing(&progress.counts(), elapsed);
        watched(importing, standing, watch).await
    };
    let closed = match &target {
        Some(end) => end.store.close().await,
        None => Ok(()),
    };
    outcome.map_err(|error| {
        let Failure { code, message } = match error {
            ImportError::Source(error) => told_source(error),
            ImportError::Store(error) => told_store(error),
            ImportError::Rehearsal(_) => Failure::new(EXIT_FAILED, error),
        };
        if code != EXIT_UNAVAILABLE {
            return Failure::new(code, message);
        }
        let hint = "what is imported stays; run the same command again to go on";
        Failure::new(code, format!("{message}; {hint}"))
    })?;
    closed.map_err(told_store)
}

async fn open_source(source: &SourceArguments) -> Result<Box<dyn Source>, SourceError> {
    Ok(match source {
        SourceArguments::Hocuspocus {
            sqlite,
            postgres,
            table,
            name_column,
            data_column,
        } => {
            let table = Table {
                table: table.clone(),
                name_column: name_column.clone(),
                data_column: data_column.clone(),
            };
            match (sqlite, postgres) {
                (Some(file), _) => Box::new(SqliteTable::open(file, &table).await?),
                (None, url) => {
                    let url = url.as_deref().unwrap_or_default();
                    Box::new(PostgresTable::open(checked(url)?, &table).await?)
                }
            }
        }
        SourceArguments::YSweet { folder } => Box::new(YSweetFolder::new(folder)),
        SourceArguments::YWebsocket { folder, .. } => Box::new(YLeveldbFolder::open(folder)?),
        SourceArguments::Updates { folder } => Box::new(UpdateFiles::new(folder)),
    })
}

/// A URL of the kind that is read; another is not repeated, as it may hold a password.
fn checked(url: &str) -> Result<&str, SourceError> {
    match StoreUrl::parse(url) {
        Ok(StoreLocation::Postgres(_)) => Ok(url),
        _ => Err(SourceError::Refused(
            "--postgres is no URL of PostgreSQL: write postgres://user:password@host:5432/database"
                .to_owned(),
        )),
    }
}

/// Opens the store of the settings. A dry run changes nothing: one that is not there yet stays away.
async fn open_target(settings: &Settings, dry_run: bool) -> Result<Option<End>, Failure> {
    let place = copy::of_settings(settings);
    if dry_run {
        let schema = match &place {
            Place::Folder(path) if !path.join(DATABASE_FILE_NAME).exists() => return Ok(None),
            Place::Folder(path) => sqlite::migrate(path, true).await,
            Place::Postgres(url) => {
                let options = postgres_options(settings, url.reveal());
                postgres::migrate(&options, true).await
            }
        };
        let SchemaReport { found, steps, .. } = schema.map_err(told_store)?;
        if found == 0 {
            return Ok(None);
        }
        if !steps.is_empty() {
            let told = "the store is of an older version, and a dry run changes nothing; run \
                        `driftless migrate` first";
            return Err(Failure::new(EXIT_REFUSED, told));
        }
    }
    let opened = copy::open(&place, settings).await;
    opened.map(Some).map_err(told_store)
}

fn told_store(error: StoreError) -> Failure {
    OperationError::from(error).into()
}

fn told_source(error: SourceError) -> Failure {
    let code = match error {
        SourceError::NotFound(_) => EXIT_NOT_FOUND,
        SourceError::Refused(_) => EXIT_REFUSED,
        SourceError::Unavailable(_) => EXIT_UNAVAILABLE,
        SourceError::Damaged(_) => EXIT_DAMAGED,
    };
    Failure::new(code, error)
}

fn standing(now: &Counts, elapsed: Duration) -> Standing {
    let rate = now.documents as f64 / elapsed.as_secs_f64().max(0.001);
    Standing {
        percent: Standing::percent(now.documents, now.total_documents),
        text: format!(
            "{} of {} documents, {} read, {rate:.0} documents/s",
            now.documents,
            now.total_documents,
            size(now.bytes),
        ),
    }
}
