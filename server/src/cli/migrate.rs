//! `driftless migrate`: brings the store's schema up to date without serving it.

use serde_json::json;

use super::target::{missing, run};
use super::{Context, EXIT_REFUSED, Failure, files, print};
use crate::admin::OperationError;
use crate::backends::postgres_options;
use crate::config::{Settings, StoreLocation};
use crate::store::data_folder::DATABASE_FILE_NAME;
use crate::store::schema::SchemaReport;
use crate::store::{StoreError, postgres, sqlite};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) dry_run: bool,
    pub(super) new_cluster_id: bool,
    pub(super) json: bool,
}

/// Migrates the store that the settings name.
pub(super) fn perform(
    wanted: Wanted,
    settings: &Settings,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let (report, cluster_id) = run(migrate(wanted, settings))?;
    if wanted.json {
        let steps = report.steps.iter();
        let steps = steps.map(|it| json!({ "version": it.version, "description": it.description }));
        let value = json!({
            "found": report.found,
            "newest": report.newest,
            "applied": !wanted.dry_run,
            "steps": steps.collect::<Vec<_>>(),
            "new_cluster_id": cluster_id,
        });
        return print::json(&value, context.output);
    }
    let mut text = report_text(&report, wanted.dry_run);
    if let Some(id) = cluster_id {
        text += &format!("the cluster's id is now {id}; restart all nodes of this database\n");
    }
    files::print(text.as_bytes(), context.output)
}

async fn migrate(
    wanted: Wanted,
    settings: &Settings,
) -> Result<(SchemaReport, Option<String>), Failure> {
    let told = |error: StoreError| Failure::from(OperationError::from(error));
    match &settings.store {
        StoreLocation::Sqlite if wanted.new_cluster_id => Err(Failure::new(
            EXIT_REFUSED,
            "the embedded database is no cluster and has no id; --new-cluster-id is for copies \
             of a PostgreSQL database, named with --store",
        )),
        StoreLocation::Sqlite => {
            if !settings.data.join(DATABASE_FILE_NAME).exists() {
                return Err(missing(&settings.data));
            }
            let report = sqlite::migrate(&settings.data, wanted.dry_run).await;
            Ok((report.map_err(told)?, None))
        }
        StoreLocation::Postgres(url) => {
            let options = postgres_options(settings, url.reveal());
            let report = postgres::migrate(&options, wanted.dry_run).await;
            let report = report.map_err(told)?;
            let id = match wanted.new_cluster_id {
                true => Some(postgres::new_cluster_id(&options).await.map_err(told)?),
                false => None,
            };
            Ok((report, id))
        }
    }
}

fn report_text(report: &SchemaReport, dry_run: bool) -> String {
    let SchemaReport {
        found,
        newest,
        steps,
    } = report;
    if steps.is_empty() {
        return format!("the schema is up to date (version {newest})\n");
    }
    let (verb, end) = match dry_run {
        true => ("would apply", "; nothing was changed"),
        false => ("applied", ""),
    };
    let mut text = String::new();
    for step in steps {
        text += &format!("{verb} {}: {}\n", step.version, step.description);
    }
    text + &format!("version {found} to {newest}{end}\n")
}
