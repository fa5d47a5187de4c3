//! The real binary: a server, and commands beside it through its admin socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A Yjs v1 update: client 1 writes `hello` into the root text `body`.
const HELLO: &[u8] = b"\x01\x01\x01\x00\x04\x01\x04body\x05hello\x00";

fn driftless(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftless"));
    command.args(arguments).arg("--data").arg(data);
    // Nothing of the machine's own settings may leak in.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DRIFTLESS_") {
            command.env_remove(name);
        }
    }
    command
}

fn output(data: &Path, arguments: &[&str]) -> Output {
    driftless(data, arguments).output().unwrap()
}

fn text(data: &Path, arguments: &[&str]) -> String {
    let output = output(data, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server process; killed if a test ends before it stopped it.
struct Server {
    child: Child,
    banner: Vec<String>,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut child = driftless(data, &["serve", "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let banner = lines.by_ref().map(Result::unwrap);
        let banner = banner
            .take_while(|line| !line.contains("origins"))
            .collect();
        // Keep reading, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, banner }
    }

    fn stop(&mut self) -> i32 {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code().expect("an exit code")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    (parent, data)
}

#[test]
fn commands_work_beside_a_server_and_after_it() {
    let (parent, data) = folder();
    let mut server = Server::start(&data);
    let banner = server.banner.join("\n");
    assert!(banner.contains("ws://127.0.0.1:"), "{banner}");
    assert!(banner.contains("admin.sock"), "{banner}");

    let mut import = driftless(&data, &["doc", "import", "a", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(HELLO).unwrap();
    let imported = import.wait_with_output().unwrap();
    let imported: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(imported["changed"], true);

    let export = ["doc", "export", "a", "--format", "text"];
    assert_eq!(text(&data, &export), "hello");
    let shown: serde_json::Value =
        serde_json::from_str(&text(&data, &["doc", "show", "a", "--json"])).unwrap();
    assert_eq!(shown["head"], 1);
    assert_eq!(shown["live"]["sessions"], 0);
    assert!(text(&data, &["doc", "list"]).contains(" a\n"));
    assert!(text(&data, &["doc", "verify"]).contains("all is well"));
    let hostile = parent.path().join("hostile");
    std::fs::write(&hostile, [255, 255, 255, 122]).unwrap();
    let refused = output(&data, &["doc", "import", "a", hostile.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(4));
    let backup = parent.path().join("backup.db");
    text(&data, &["backup", backup.to_str().unwrap()]);

    assert_eq!(server.stop(), 0, "a graceful stop");
    assert!(!data.join("admin.sock").exists());
    assert_eq!(text(&data, &export), "hello");
    let restored = parent.path().join("restored");
    text(&restored, &["restore", backup.to_str().unwrap()]);
    assert_eq!(text(&restored, &export), "hello");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let (_parent, data) = folder();
    let mut server = Server::start(&data);
    let second = output(&data, &["serve", "--listen", "127.0.0.1:0"]);
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("in use by process"), "{told}");
    assert!(
        data.join("admin.sock").exists(),
        "the first one still answers"
    );
    text(&data, &["doc", "list"]);
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_deleted_document_is_gone_for_a_running_server() {
    let (_parent, data) = folder();
    let mut server = Server::start(&data);
    let file = data.join("hello.update");
    std::fs::write(&file, HELLO).unwrap();
    let import = ["doc", "import", "a", file.to_str().unwrap()];
    text(&data, &import);
    text(&data, &["doc", "delete", "a"]);
    assert_eq!(
        output(&data, &["doc", "export", "a"]).status.code(),
        Some(3)
    );
    assert_eq!(output(&data, &import).status.code(), Some(4));
    assert_eq!(server.stop(), 0);
    assert_eq!(
        output(&data, &["doc", "export", "a"]).status.code(),
        Some(3)
    );
    assert_eq!(output(&data, &import).status.code(), Some(4));
}
