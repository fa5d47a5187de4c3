//! What `driftless doctor` looks at in a data folder's database.

use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::super::data_folder::DataFolder;
use super::super::schema::SchemaReport;
use super::open;
use crate::finding::Finding;

/// Looks at the database; `folder` is its locked folder, or nothing while a server holds it.
pub async fn examine(path: &Path, folder: Option<&DataFolder>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match open::look(path).await {
        Ok(report) => findings.push(schema(&report)),
        Err(error) => findings.push(Finding::failed("schema", &error)),
    }
    if findings.iter().any(|one| one.grade.is_problem()) {
        return findings;
    }
    findings.push(match settings(path, folder).await {
        Ok(text) => Finding::ok("durability", text),
        Err(error) => Finding::failed("durability", &error),
    });
    match gives_space_back(path).await {
        Ok(true) => {}
        Ok(false) => findings.push(Finding::warning(
            "space",
            "the database does not give freed space back to the file system; a backup and \
             restore makes one that does",
        )),
        Err(error) => findings.push(Finding::failed("space", &error)),
    }
    findings
}

fn schema(report: &SchemaReport) -> Finding {
    let SchemaReport { newest, steps, .. } = report;
    if steps.is_empty() {
        return Finding::ok(
            "schema",
            format!("version {newest}, what this driftless writes"),
        );
    }
    let text = format!(
        "version {}, this driftless writes {newest}; `driftless migrate` or the next start \
         brings it up to date",
        report.found
    );
    Finding::warning("schema", text)
}

/// Proves the settings on a connection like the server's, where that is free to be made.
async fn settings(path: &Path, folder: Option<&DataFolder>) -> Result<String, StoreError> {
    if folder.is_some() {
        open::open_writer(path).await?.close().await?;
        return Ok("write-ahead log is on, every commit is flushed (synchronous FULL)".to_owned());
    }
    let mut connection = open::open_to_look(path).await?;
    let journal = journal_mode(&mut connection).await?;
    connection.close().await?;
    if journal != "wal" {
        return Err(StoreError::Refused(format!(
            "the database keeps no write-ahead log (journal mode is `{journal}`); stop what \
             changed it, and start the server again"
        )));
    }
    Ok("write-ahead log is on; the server that runs proved the rest at its start".to_owned())
}

async fn journal_mode(connection: &mut SqliteConnection) -> Result<String, StoreError> {
    let mode = sqlx::query_scalar("PRAGMA journal_mode");
    Ok(mode.fetch_one(connection).await?)
}

async fn gives_space_back(path: &Path) -> Result<bool, StoreError> {
    let mut connection = open::open_to_look(path).await?;
    let mode = open::pragma(&mut connection, "PRAGMA auto_vacuum").await?;
    connection.close().await?;
    Ok(mode == open::AUTO_VACUUM_INCREMENTAL)
}
