//! One file out, one file in: online backup and restore. Neither overwrites anything.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::Connection;

use super::super::StoreError;
use super::super::data_folder::DataFolder;
use super::{inspect, open};

/// Copies the database as it is at this moment to a new file, while work goes on.
///
/// The copy is compact and consistent; it appears under its name only when it is complete and on
/// disk. It holds up the write-ahead log's reuse while it runs, by as much as is written meanwhile.
pub(super) async fn backup(database: &Path, file: &Path) -> Result<(), StoreError> {
    refuse_existing(file)?;
    let partial = Partial::create(beside(file, &format!(".partial-{}", std::process::id())))?;
    let Some(target) = partial.path.to_str().map(str::to_owned) else {
        return Err(StoreError::Refused(format!(
            "{} is not valid UTF-8; choose another name for the backup",
            file.display()
        )));
    };
    let mut connection = open::open_for_backup(database).await?;
    sqlx::query("VACUUM INTO ?")
        .bind(target)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let file = file.to_owned();
    off_thread(move || partial.publish(&file)).await
}

/// Puts a backup in place of a folder's missing database, after checking it.
///
/// Refused when the folder holds a database already, or the file is not an intact backup.
pub async fn restore(file: &Path, folder: &DataFolder) -> Result<(), StoreError> {
    let database = folder.database();
    for existing in [database.clone(), beside(&database, "-wal")] {
        refuse_existing(&existing)?;
    }
    let wal = beside(file, "-wal");
    if std::fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
        return Err(StoreError::Refused(format!(
            "{} is a live database, not a backup: part of it is still in {}; make a backup with \
             `driftless backup`",
            file.display(),
            wal.display()
        )));
    }
    let copy = beside(&database, ".restoring");
    // The folder is locked: what is left of an earlier attempt is nobody's.
    let _ = std::fs::remove_file(&copy);
    let source = file.to_owned();
    let partial = off_thread(move || {
        let partial = Partial::create(copy)?;
        partial.fill_from(&source)?;
        Ok(partial)
    })
    .await?;
    check_backup(&partial.path, file).await?;
    off_thread(move || partial.publish(&database)).await
}

async fn check_backup(copy: &Path, file: &Path) -> Result<(), StoreError> {
    open::check_owner(copy).await?;
    let mut connection = open::open_untouched(copy).await?;
    let application_id = open::pragma(&mut connection, "PRAGMA application_id").await?;
    if application_id != open::APPLICATION_ID {
        return Err(StoreError::Refused(format!(
            "{} is not a backup made by driftless",
            file.display()
        )));
    }
    let findings = inspect::verify_structure(&mut connection).await?;
    connection.close().await?;
    match findings.first() {
        None => Ok(()),
        Some(finding) => Err(StoreError::Damaged(format!(
            "the backup {} is not intact: {finding}; nothing was restored",
            file.display()
        ))),
    }
}

/// A file that is not complete yet; it goes away unless it is published.
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Creates it empty, readable by its owner only: it will hold everyone's documents.
    fn create(path: PathBuf) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&path)
            .map_err(|error| told(&path, "create", &error))?;
        Ok(Self { path })
    }

    fn fill_from(&self, source: &Path) -> Result<(), StoreError> {
        let mut from = File::open(source).map_err(|error| told(source, "read", &error))?;
        let target = OpenOptions::new().write(true).open(&self.path);
        let mut to = target.map_err(|error| told(&self.path, "write", &error))?;
        io::copy(&mut from, &mut to).map_err(|error| told(&self.path, "write", &error))?;
        Ok(())
    }

    /// Flushes it and gives it its name, which must still be free.
    fn publish(self, name: &Path) -> Result<(), StoreError> {
        let flushed = File::open(&self.path).and_then(|file| file.sync_all());
        flushed.map_err(|error| told(&self.path, "flush", &error))?;
        // A link never replaces a file; a file system without links leaves a check and a rename.
        match std::fs::hard_link(&self.path, name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(name));
            }
            Err(_) => {
                refuse_existing(name)?;
                std::fs::rename(&self.path, name).map_err(|error| told(name, "create", &error))?;
            }
        }
        let folder = name
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed.map_err(|error| told(folder, "flush", &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Already gone after a rename; after a link only this name of it goes.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn refuse_existing(path: &Path) -> Result<(), StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(exists(path)),
        Err(_) => Ok(()),
    }
}

fn exists(path: &Path) -> StoreError {
    StoreError::Refused(format!(
        "{} exists already and is never overwritten; choose another place or move it away",
        path.display()
    ))
}

fn told(path: &Path, attempt: &str, error: &io::Error) -> StoreError {
    let text = format!("cannot {attempt} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => StoreError::Refused(text),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull(text),
        _ => StoreError::Unavailable(text),
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
}
