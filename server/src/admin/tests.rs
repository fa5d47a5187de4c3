//! The admin socket over real unix sockets: every command, and what hostile bytes get.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use driftless_proto::engine::Rights;
use driftless_proto::name::DocumentName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::client::CallError;
use super::command::{Failure, VERSION};
use super::frame::{self, FrameError, Limits};
use super::live::OPERATOR;
use super::operations::*;
use super::*;
use crate::store::{Claim, DocumentSummary, Origin};

mod access;

/// Records what it was asked and answers with fixed values.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<String>>,
}

impl Recorder {
    fn note<'a, T: Send + 'a>(
        &self,
        asked: String,
        answer: Result<T, OperationError>,
    ) -> OperationFuture<'a, T> {
        self.asked.lock().unwrap().push(asked);
        Box::pin(std::future::ready(answer))
    }
}

fn name(text: &str) -> DocumentName {
    DocumentName::new(text).unwrap()
}

fn summary() -> DocumentSummary {
    DocumentSummary {
        name: name("a/ü"),
        epoch: 1,
        head: 7,
        appends: 7,
        stored_bytes: 99,
        changed_ms: 1_700_000_000_000,
        quarantine: Some("why".into()),
        deleted: false,
    }
}

impl DocumentOperations for Recorder {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a DocumentName>,
        limit: u32,
    ) -> OperationFuture<'a, Vec<DocumentSummary>> {
        self.note(
            format!("list {prefix} {after:?} {limit}"),
            Ok(vec![summary()]),
        )
    }
    fn show<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, DocumentDetails> {
        let details = DocumentDetails {
            summary: summary(),
            state_bytes: 5,
            snapshot_sequence: 3,
            damage: None,
            owners: Some(vec![Claim {
                client: 9,
                owner: Some("ada".into()),
            }]),
            live: Some(LiveDetails {
                resident: true,
                sessions: 2,
            }),
        };
        self.note(format!("show {document}"), Ok(details))
    }
    fn export_state<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Bytes> {
        // Larger than a socket buffer, so that it takes several turns.
        self.note(format!("export {document}"), Ok(vec![7; 3 << 20].into()))
    }
    fn import_update<'a>(
        &'a self,
        document: &'a DocumentName,
        update: Bytes,
        origin: Origin,
        rights: Rights,
    ) -> OperationFuture<'a, Imported> {
        assert_eq!(rights, OPERATOR);
        let asked = format!("import {document} {} {}", update.len(), origin.door);
        let imported = Imported {
            head: 8,
            changed: true,
        };
        self.note(asked, Ok(imported))
    }
    fn delete<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, u64> {
        self.note(format!("delete {document}"), Err(OperationError::NotFound))
    }
    fn verify<'a>(
        &'a self,
        document: Option<&'a DocumentName>,
    ) -> OperationFuture<'a, Verification> {
        let damage = Damage {
            document: None,
            description: "page 3".into(),
        };
        let found = Verification {
            documents: 2,
            appends: 9,
            damages: vec![damage; command::DAMAGES_MAX + 1],
        };
        self.note(format!("verify {document:?}"), Ok(found))
    }
    fn repair<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, Repair> {
        let repair = Repair {
            head_before: 6,
            head: 4,
            dropped_appends: 2,
            dropped_snapshots: 0,
        };
        self.note(format!("repair {document}"), Ok(repair))
    }
    fn release<'a>(&'a self, document: &'a DocumentName) -> OperationFuture<'a, ()> {
        let refused = Err(OperationError::Refused("still damaged".into()));
        self.note(format!("release {document}"), refused)
    }
    fn backup<'a>(&'a self, file: &'a Path) -> OperationFuture<'a, u64> {
        self.note(format!("backup {}", file.display()), Ok(4_096))
    }
}

const IMPORT_BYTES_MAX: u64 = 1 << 20;

fn operations(recorder: &Arc<Recorder>) -> Operations {
    Operations {
        documents: recorder.clone(),
        access: recorder.clone(),
    }
}

/// A server on a fresh folder, stopped and awaited at the end of each test.
struct Running {
    folder: tempfile::TempDir,
    recorder: Arc<Recorder>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::default());
        let operations = operations(&recorder);
        let socket = AdminSocket::bind(folder.path()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(socket.serve(operations, IMPORT_BYTES_MAX, async {
            let _ = stopped.await;
        }));
        Self {
            folder,
            recorder,
            stop,
            task,
        }
    }

    async fn call(&self, command: Command, payload: &[u8]) -> Result<(Reply, Bytes), CallError> {
        call(self.folder.path(), &command, payload).await
    }

    /// Sends raw bytes and reads the failure that answers them.
    async fn refusal(&self, bytes: &[u8]) -> Failure {
        let path = self.folder.path().join(path::SOCKET_NAME);
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let limits = Limits {
            header_bytes_max: 1 << 20,
            payload_bytes_max: 0,
            stall_timeout: frame::STALL_TIMEOUT,
        };
        let (outcome, _) = frame::read::<Result<Reply, Failure>>(&mut stream, limits)
            .await
            .unwrap();
        outcome.unwrap_err()
    }

    async fn stop(self) -> Vec<String> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        let left: Vec<_> = std::fs::read_dir(self.folder.path()).unwrap().collect();
        assert!(left.is_empty(), "the socket is removed: {left:?}");
        self.recorder.asked.lock().unwrap().clone()
    }
}

fn framed(header: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn every_command_reaches_the_operations_and_back() {
    let running = Running::start();
    let document = || "a/ü".to_owned();
    let list = Command::List {
        prefix: "a".into(),
        after: Some("a/b".into()),
        limit: 9_999,
    };
    let (reply, _) = running.call(list, b"").await.unwrap();
    let documents = vec![summary().into()];
    assert_eq!(reply, Reply::List { documents });

    let show = Command::Show {
        document: document(),
    };
    let (reply, _) = running.call(show, b"").await.unwrap();
    let Reply::Show(details) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (details.summary.head, details.live.unwrap().sessions),
        (7, 2)
    );
    let ada = command::Owner {
        identity: Some("ada".into()),
        client_ids: 1,
        listed: vec![9],
    };
    assert_eq!(details.owners.unwrap().listed, [ada]);

    let export = Command::Export {
        document: document(),
    };
    let (reply, state) = running.call(export, b"").await.unwrap();
    assert_eq!((reply, state.len()), (Reply::Export {}, 3 << 20));
    assert!(state.iter().all(|byte| *byte == 7));

    let import = Command::Import {
        document: document(),
    };
    let (reply, _) = running.call(import, &vec![1; 1 << 20]).await.unwrap();
    let (head, changed) = (8, true);
    assert_eq!(reply, Reply::Import { head, changed });

    let verify = Command::Verify { document: None };
    let (reply, _) = running.call(verify, b"").await.unwrap();
    let Reply::Verify(verified) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((verified.damaged, verified.damages.len()), (501, 500));

    let repair = Command::Repair {
        document: document(),
    };
    let (reply, _) = running.call(repair, b"").await.unwrap();
    let Reply::Repair(repaired) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((repaired.head_before, repaired.head), (6, 4));

    let backup = Command::Backup { file: "/b".into() };
    let (reply, _) = running.call(backup, b"").await.unwrap();
    assert_eq!(reply, Reply::Backup { bytes: 4_096 });
    assert_eq!(
        running.stop().await,
        [
            "list a Some(\"a/b\") 500",
            "show a/ü",
            "export a/ü",
            "import a/ü 1048576 admin import",
            "verify None",
            "repair a/ü",
            "backup /b"
        ]
    );
}

#[tokio::test]
async fn errors_arrive_as_they_left() {
    let running = Running::start();
    let document = || "a".to_owned();
    let told = async |command: Command| {
        let CallError::Operation(error) = running.call(command, b"").await.unwrap_err() else {
            panic!("not an operation's error")
        };
        error
    };
    let delete = Command::Delete {
        document: document(),
    };
    assert_eq!(told(delete).await, OperationError::NotFound);
    let release = Command::Release {
        document: document(),
    };
    let refused = OperationError::Refused("still damaged".into());
    assert_eq!(told(release).await, refused);
    let nameless = Command::Show {
        document: String::new(),
    };
    assert!(matches!(told(nameless).await, OperationError::Refused(_)));
    let relative = Command::Backup {
        file: "b.db".into(),
    };
    assert!(matches!(told(relative).await, OperationError::Refused(_)));
    assert_eq!(running.stop().await, ["delete a", "release a"]);
}

/// Requests that nobody honest sends, and what their refusal has to say.
fn bad_requests() -> Vec<(Vec<u8>, &'static str)> {
    assert_eq!(VERSION, 1, "the table below is written for this version");
    let delete = r#"{"name":"delete","document":"a"}"#;
    let of = |version: u32, payload_bytes: i64, body: &str, payload: &[u8]| {
        let header =
            format!(r#"{{"version":{version},"payload_bytes":{payload_bytes},"body":{body}}}"#);
        framed(&header, payload)
    };
    vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "larger than the 65536"),
        (u32::MAX.to_be_bytes().to_vec(), "larger than the 65536"),
        (framed("{", b""), "malformed"),
        (framed("\"x\"", b""), "malformed"),
        (framed(r#"{"version":1,"body":null}"#, b""), "payload_bytes"),
        (framed(&"[".repeat(60_000), b""), "malformed"),
        (of(2, 0, delete, b""), "version 2"),
        (of(9, 0, "null", b""), "version 9"),
        (of(1, -1, delete, b""), "malformed"),
        (of(1, 1_048_577, delete, b""), "a payload of 1048577"),
        (of(1, 9, delete, b"1234"), "5 bytes early"),
        (of(1, 0, r#"{"name":"explode"}"#, b""), "unknown variant"),
        (of(1, 0, r#"{"name":"delete"}"#, b""), "document"),
        (
            of(1, 0, r#"{"name":"delete","document":"a","x":1}"#, b""),
            "unknown field",
        ),
    ]
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_told_and_do_nothing() {
    let running = Running::start();
    for (bytes, wanted) in bad_requests() {
        let Failure::Refused(reason) = running.refusal(&bytes).await else {
            panic!("another failure for {wanted}")
        };
        assert!(reason.contains(wanted), "{reason} should hold {wanted}");
    }
    assert!(running.stop().await.is_empty());
}

#[tokio::test]
async fn an_import_over_the_limit_is_told_as_such() {
    let running = Running::start();
    let document = "a".to_owned();
    let import = Command::Import { document };
    let error = running.call(import, &vec![0; 8 << 20]).await.unwrap_err();
    assert!(
        error.to_string().contains("a payload of 8388608 bytes"),
        "{error}"
    );
    assert!(running.stop().await.is_empty());
}

#[tokio::test]
async fn a_silent_peer_holds_nobody_up_and_neither_does_one_that_left() {
    let running = Running::start();
    let path = running.folder.path().join(path::SOCKET_NAME);
    let _silent = UnixStream::connect(&path).await.unwrap();
    let mut half = UnixStream::connect(&path).await.unwrap();
    half.write_all(&[0, 0]).await.unwrap();
    drop(half);
    let backup = Command::Backup { file: "/b".into() };
    running.call(backup, b"").await.unwrap();
    assert_eq!(running.stop().await, ["backup /b"]);
}

#[tokio::test]
async fn a_stalled_request_is_told_and_closed() {
    let (mut client, mut server) = tokio::io::duplex(64);
    client.write_all(&[0, 0, 0, 9, b'{']).await.unwrap();
    let limits = Limits {
        header_bytes_max: 64,
        payload_bytes_max: 0,
        stall_timeout: Duration::from_millis(20),
    };
    let read = frame::read::<Command>(&mut server, limits).await;
    assert!(matches!(read, Err(FrameError::Stalled)), "{read:?}");
    let full = frame::write(&mut server, &"x".repeat(256), b"", limits.stall_timeout).await;
    assert!(matches!(full, Err(FrameError::Stalled)), "{full:?}");
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 64);
}

#[tokio::test]
async fn the_socket_is_private_and_replaces_a_stale_one() {
    let folder = tempfile::tempdir().unwrap();
    let stale = std::os::unix::net::UnixListener::bind(folder.path().join(path::SOCKET_NAME));
    drop(stale.unwrap());
    std::fs::create_dir(folder.path().join(".admin-new")).unwrap();
    let backup = Command::Backup { file: "/b".into() };
    let nobody = call(folder.path(), &backup, b"").await.unwrap_err();
    assert!(matches!(nobody, CallError::Unreachable(_)), "{nobody}");

    let socket = AdminSocket::bind(folder.path()).unwrap();
    let mode = std::fs::metadata(socket.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(UnixStream::connect(socket.path()).await.is_ok());
    assert!(!folder.path().join(".admin-new").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_data_folder_with_a_long_path_works() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = AdminSocket::bind(&folder).unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(socket.serve(operations(&Arc::default()), 0, async {
        let _ = stopped.await;
    }));
    let backup = Command::Backup { file: "/b".into() };
    let (reply, _) = call(&folder, &backup, b"").await.unwrap();
    assert_eq!(reply, Reply::Backup { bytes: 4_096 });
    stop.send(()).unwrap();
    task.await.unwrap();
    assert!(!folder.join(path::SOCKET_NAME).exists());
}
