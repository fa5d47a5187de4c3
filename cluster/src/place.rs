//! Where a part keeps its things: a folder of its own, a log file in it, a port that stays.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::error::ClusterError;

/// How much of a log is shown when a part fails.
const TAIL_BYTES: u64 = 3_000;

/// Others may pass through the folder, not look into it: PostgreSQL runs as another user below it.
const PASSABLE: u32 = 0o711;

/// Below those that the system gives to who asks for any: nobody takes one while its part is away.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// More than a machine would have to be out of ports for.
const PORTS_TRIED_MAX: usize = 1_000;

/// Makes `parent/name`.
pub(crate) fn make_folder(parent: &Path, name: &str) -> Result<PathBuf, ClusterError> {
    let folder = parent.join(name);
    std::fs::create_dir_all(&folder)
        .map_err(ClusterError::io(format!("make {}", folder.display())))?;
    Ok(folder)
}

/// A temporary folder that other users may pass through, as PostgreSQL's has to.
pub fn temporary_folder() -> Result<TempDir, ClusterError> {
    let folder = tempfile::Builder::new()
        .prefix("driftless-cluster-")
        .tempdir()
        .map_err(ClusterError::io("make a temporary folder"))?;
    std::fs::set_permissions(folder.path(), Permissions::from_mode(PASSABLE)).map_err(
        ClusterError::io(format!("open {}", folder.path().display())),
    )?;
    Ok(folder)
}

/// A log file that goes on where it ended.
pub(crate) fn open_log(path: &Path) -> Result<File, ClusterError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(ClusterError::io(format!("open {}", path.display())))
}

/// The end of a log, for error messages.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

/// A port that nobody listens at now. It is let go of, so that the part can take it.
pub fn free_port() -> Result<u16, ClusterError> {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let some = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(PORTS_TRIED_MAX);
    let mut free =
        some.filter(|port| taken.insert(*port) && TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let none = || ClusterError::io("find a free port")(ErrorKind::AddrInUse.into());
    free.next().ok_or_else(none)
}
