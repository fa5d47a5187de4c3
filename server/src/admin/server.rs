//! The server's end of the admin socket.

use std::fs::{DirBuilder, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::access::Operations;
use super::command::{Command, Failure, Reply};
use super::execute::execute;
use super::frame::{self, FrameError, Limits, REQUEST_HEADER_BYTES_MAX, STALL_TIMEOUT};
use super::path::{SOCKET_NAME, address};

/// Requests at a time; more wait in the system's backlog. An operator has two hands.
const CONNECTIONS_MAX: usize = 8;

/// How long running commands may finish after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed `accept`, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound socket; removed from the folder when dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds `admin.sock` in the data folder, for this user alone. The caller must hold the lock of
    /// the folder: whatever lies there under that name is then stale, and is replaced.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        // Bound in a folder that only we can enter, then moved: no moment at which others could
        // connect before the mode is set.
        let nursery = folder.join(".admin-new");
        let _ = std::fs::remove_dir_all(&nursery);
        DirBuilder::new().mode(0o700).create(&nursery)?;
        let bound = Self::bind_in(&nursery, folder.join(SOCKET_NAME));
        let _ = std::fs::remove_dir_all(&nursery);
        bound
    }

    fn bind_in(nursery: &Path, path: PathBuf) -> io::Result<Self> {
        let fresh = nursery.join(SOCKET_NAME);
        let listener = UnixListener::bind(&address(nursery, SOCKET_NAME)?.path)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener, path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until `stop` resolves, then lets running commands finish for a few seconds.
    /// `import_bytes_max` bounds the payload of a request.
    pub async fn serve(
        self,
        operations: Operations,
        import_bytes_max: u64,
        stop: impl Future<Output = ()>,
    ) {
        let limits = Limits {
            header_bytes_max: REQUEST_HEADER_BYTES_MAX,
            payload_bytes_max: import_bytes_max,
            stall_timeout: STALL_TIMEOUT,
        };
        let (stopping, stopped) = watch::channel(());
        let mut running = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                Some(_) = running.join_next() => {}
                accepted = self.listener.accept(), if running.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((stream, _)) => {
                            let operations = operations.clone();
                            running.spawn(answer(stream, operations, limits, stopped.clone()));
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the admin socket cannot accept");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
        drop(self);
        drop(stopping);
        let drained = async { while running.join_next().await.is_some() {} };
        if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("admin commands were still running at the stop");
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads one request, performs it, writes its reply. Leaves when the server stops before the
/// request is complete; a command that was begun is finished.
async fn answer(
    mut stream: UnixStream,
    operations: Operations,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let request = tokio::select! {
        request = frame::read::<Command>(&mut stream, limits) => request,
        _ = stopped.changed() => return,
    };
    let (outcome, payload) = match request {
        Ok((command, payload)) => {
            tracing::info!(?command, "admin command");
            match execute(&operations, command, payload).await {
                Ok((reply, payload)) => (Ok(reply), payload),
                Err(error) => (Err(Failure::from(error)), Bytes::new()),
            }
        }
        Err(FrameError::Io(_)) => return,
        Err(error) => {
            tracing::warn!(%error, "an admin request was refused");
            (Err(Failure::Refused(error.to_string())), Bytes::new())
        }
    };
    let outcome: Result<Reply, Failure> = outcome;
    if let Err(error) = frame::write(&mut stream, &outcome, &payload, STALL_TIMEOUT).await {
        tracing::debug!(%error, "an admin reply was not taken");
    }
}
