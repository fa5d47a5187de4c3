//! Bringing a data folder's schema up to date without serving it.

use std::path::Path;

use super::super::data_folder::{DATABASE_FILE_NAME, DataFolder};
use super::super::schema::SchemaReport;
use super::super::{Store, StoreError};
use super::{SqliteStore, open};

/// Brings the schema of a folder's database up to date, or with `dry_run` only tells what is
/// missing. Takes the folder's lock only for what there is to do.
pub async fn migrate(folder: &Path, dry_run: bool) -> Result<SchemaReport, StoreError> {
    let report = open::look(&folder.join(DATABASE_FILE_NAME)).await?;
    if dry_run || report.steps.is_empty() {
        return Ok(report);
    }
    let folder = DataFolder::open(folder)?;
    let store = SqliteStore::open(&folder).await?;
    store.close().await?;
    Ok(report)
}
