//! The same commands while a server holds the folder: everything goes through the admin socket.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;

use super::stopped::{Stopped, typed};
use super::*;
use crate::admin::access::stored::StoredAccess;
use crate::admin::stored::StoredOperations;
use crate::admin::{AdminSocket, Operations};
use crate::clock::Clock;
use crate::config::parts::replica_options;
use crate::store::Store;
use crate::store::data_folder::DataFolder;
use crate::store::sqlite::SqliteStore;

/// A server in a thread of this process, as far as the command line sees of it: it holds the lock
/// and answers on the socket.
struct Running {
    stopped: Stopped,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    fn start() -> Self {
        let stopped = Stopped::new();
        let data = stopped.data();
        let (stop, asked) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let folder = DataFolder::open(&data).unwrap();
                let store = Arc::new(SqliteStore::open(&folder).await.unwrap());
                let none = Variables::new();
                let settings = config::load(&Flags::default(), &none, 1).unwrap().settings;
                let options = replica_options(&settings);
                let clock = Clock::start();
                let operations = Operations {
                    documents: Arc::new(StoredOperations::new(store.clone(), options, clock)),
                    access: Arc::new(StoredAccess::new(store.clone(), clock)),
                };
                let socket = AdminSocket::bind(folder.path()).unwrap();
                ready.send(()).unwrap();
                let stop = async {
                    let _ = asked.await;
                };
                let limit = settings.frame_bytes_max;
                socket.serve(operations, limit, stop).await;
                store.close().await.unwrap();
            });
        });
        started.recv().unwrap();
        Self {
            stopped,
            stop,
            thread,
        }
    }

    fn stop(self) -> Stopped {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
        self.stopped
    }
}

#[test]
fn a_running_server_and_a_stopped_one_answer_alike() {
    let running = Running::start();
    let before = &running.stopped;
    assert_eq!(before.import("a", &typed(1, 0, "hello")).json()["head"], 1);
    let commands: [&[&str]; 6] = [
        &["doc", "list", "--json"],
        &["doc", "show", "a", "--json"],
        &["doc", "export", "a"],
        &["doc", "export", "a", "--format", "json"],
        &["doc", "show", "b"],
        &["doc", "verify", "--json"],
    ];
    let answers = |stopped: &Stopped| commands.map(|arguments| stopped.run(arguments));
    let while_running = answers(before);
    assert_eq!(while_running[3].json(), json!({ "body": "hello" }));
    let stopped = running.stop();
    for (live, offline) in while_running.iter().zip(answers(&stopped)) {
        assert_eq!(live.code, offline.code);
        assert_eq!(live.output, offline.output);
        assert_eq!(live.errors, offline.errors);
    }
}

#[test]
fn a_running_server_refuses_as_a_stopped_one_does() {
    let running = Running::start();
    let stopped = &running.stopped;
    stopped.import("a", b"hostile").failed(EXIT_REFUSED);
    stopped.run(&["doc", "delete", "a"]).failed(EXIT_NOT_FOUND);
    stopped.import("a", &typed(1, 0, "x")).text();
    stopped.run(&["doc", "delete", "a"]).text();
    running.stop();
}

#[test]
fn a_held_folder_without_a_socket_is_told_as_unavailable() {
    let stopped = Stopped::new();
    let _held = DataFolder::open(&stopped.data()).unwrap();
    let told = stopped.run(&["doc", "list"]);
    assert!(told.failed(EXIT_UNAVAILABLE).contains("admin socket"));
    let file = stopped.file("some.db");
    std::fs::write(&file, "anything").unwrap();
    let restore = stopped.run(&["restore", &file]);
    assert!(restore.failed(EXIT_REFUSED).contains("in use"));
}
