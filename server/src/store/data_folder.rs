//! The data folder: one server's own place on disk, held by an exclusive lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StoreError;

/// The lock file's name in the folder. It stays behind when the server ends; only the operating
/// system's lock on it counts, and that ends with the process.
pub const LOCK_FILE_NAME: &str = "driftless.lock";

/// The embedded database's name in the folder.
pub const DATABASE_FILE_NAME: &str = "driftless.db";

/// How long a held lock is asked for again: longer than a process takes to start or to vanish, and
/// too short to be noticed.
const LOCK_PATIENCE: Duration = match cfg!(test) {
    false => Duration::from_millis(100),
    // Other tests start processes, which hold it, too, until they have begun.
    true => Duration::from_secs(3),
};

/// A process id has at most ten digits; the lock file holds nothing else.
const PID_BYTES_MAX: u64 = 16;

/// A locked data folder. Clones share the lock; the last one to go releases it.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl DataFolder {
    /// Creates the folder (mode 0700) if it is missing, and locks it for this process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| unusable(path, "create", &error))?;
        let lock_path = path.join(LOCK_FILE_NAME);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| unusable(&lock_path, "open", &error))?;
        match take(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(unusable(&lock_path, "lock", &error)),
        }
        write_pid(&mut lock).map_err(|error| unusable(&lock_path, "write", &error))?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: Arc::new(lock),
        })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the embedded database is, or will be.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE_FILE_NAME)
    }
}

/// Takes the lock. A process that is being started by this one holds a copy of an earlier lock until
/// it runs its program, and one that was killed holds its own until the system has cleaned up.
fn take(lock: &File) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_PATIENCE / 10);
            }
            taken => return taken,
        }
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    lock.write_all(std::process::id().to_string().as_bytes())
}

fn held(path: &Path, lock: &mut File) -> StoreError {
    let mut pid = String::new();
    let read = lock.take(PID_BYTES_MAX).read_to_string(&mut pid);
    let holder = match read {
        Ok(_) if !pid.is_empty() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    StoreError::Refused(format!(
        "the data folder {} is in use by {holder}; stop that server first, or choose another \
         folder with --data",
        path.display()
    ))
}

fn unusable(path: &Path, attempt: &str, error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let text = format!("cannot {attempt} {}: {error}", path.display());
    match error.kind() {
        StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied => {
            StoreError::DiskFull(text)
        }
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_held_folder_is_refused_with_the_holders_pid() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let first = DataFolder::open(&path).unwrap();
        let second = DataFolder::open(&path).unwrap_err();
        let text = second.to_string();
        assert!(matches!(second, StoreError::Refused(_)), "{text}");
        let pid = std::process::id().to_string();
        assert!(text.contains(&pid) && text.contains("--data"), "{text}");
        drop(first);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn the_lock_lives_as_long_as_any_clone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        let clone = folder.clone();
        drop(folder);
        assert!(DataFolder::open(parent.path()).is_err());
        drop(clone);
        assert!(DataFolder::open(parent.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let _folder = DataFolder::open(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::write(&path, b"not a folder").unwrap();
        let text = DataFolder::open(&path).unwrap_err().to_string();
        assert!(text.contains("data"), "{text}");
    }
}
