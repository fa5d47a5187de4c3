//! A server process with its commands beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::client::PATIENCE;

/// What tokens are signed with here.
const SECRET: &str = "a secret that is thirty-two bytes or longer";

/// A server with a folder of its own; it ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

/// The binary with nothing of the machine's own settings.
pub(crate) fn driftless(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_driftless"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DRIFTLESS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Runs a command that has to succeed; what it printed.
pub(crate) fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

impl Server {
    /// Whose peers show tokens that are signed with [`SECRET`].
    pub(crate) fn with_tokens() -> Self {
        Self::with_tokens_and(&[])
    }

    /// The same with more settings.
    pub(crate) fn with_tokens_and(arguments: &[&str]) -> Self {
        Self::start(arguments, |command| {
            command.env("DRIFTLESS_AUTH_SECRET", SECRET);
        })
    }

    /// The same, with presence that shows identities.
    pub(crate) fn showing_identities(field: &str) -> Self {
        Self::start(&["--presence-identity-field", field], |command| {
            command.env("DRIFTLESS_AUTH_SECRET", SECRET);
        })
    }

    /// Whose application is asked.
    pub(crate) fn with_hook(url: &str) -> Self {
        Self::with_hook_and(url, &[])
    }

    /// The same with more arguments.
    pub(crate) fn with_hook_and(url: &str, more: &[&str]) -> Self {
        // An answer counts for long: who looks past it finds another.
        let arguments = ["--auth-hook-url", url, "--auth-hook-cache-ms", "1h"];
        let patient = ["--auth-hook-timeout-ms", "30s"];
        Self::start(&[&arguments[..], &patient, more].concat(), |command| {
            command.env("DRIFTLESS_AUTH_HOOK_SECRET", SECRET);
        })
    }

    /// The same where client ids belong to who wrote under them first.
    pub(crate) fn with_bound_ids() -> Self {
        Self::bound_in(tempfile::tempdir().unwrap())
    }

    fn bound_in(folder: tempfile::TempDir) -> Self {
        Self::start_in(folder, &["--client-ids", "bound"], |command| {
            command.env("DRIFTLESS_AUTH_SECRET", SECRET);
        })
    }

    /// Kills the server of [`Server::with_bound_ids`] and starts it again.
    pub(crate) fn killed_and_started(mut self) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let other = tempfile::tempdir().unwrap();
        Self::bound_in(std::mem::replace(&mut self.folder, other))
    }

    /// Whose application has three seconds for an answer.
    pub(crate) fn with_impatient_hook(url: &str) -> Self {
        let arguments = [
            "--auth-hook-url",
            url,
            "--auth-hook-cache-ms",
            "1h",
            "--auth-hook-timeout-ms",
            "3s",
        ];
        Self::start(&arguments, |command| {
            command.env("DRIFTLESS_AUTH_HOOK_SECRET", SECRET);
        })
    }

    /// As these arguments say.
    pub(crate) fn start(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments, change)
    }

    fn start_in(
        folder: tempfile::TempDir,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = driftless(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).arg("--data").arg(folder.path());
        change(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let (_, rest) = line.split_once("ws://")?;
            rest.split('/').next()?.parse().ok()
        });
        // Keep reading, so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: address.expect("the banner tells the address"),
            folder,
        }
    }

    /// A token for every document.
    pub(crate) fn token(&self, subject: &str, id: &str) -> String {
        self.token_for("*=write", &["--sub", subject, "--id", id])
    }

    /// A token for some documents.
    pub(crate) fn token_for(&self, documents: &str, more: &[&str]) -> String {
        let mut command = driftless(&["token", "--doc", documents, "--ttl", "1h"]);
        command.args(more);
        command.env("DRIFTLESS_AUTH_SECRET", SECRET);
        output(command).trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        on(self.folder.path(), arguments)
    }

    /// Runs a command on it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        json(self.command(arguments))
    }

    /// Runs a command that has to fail with this exit code; what it told.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        told
    }

    /// Restricts access; the restriction's id.
    pub(crate) fn restrict(&self, arguments: &[&str]) -> String {
        let all = [&["access", "restrict"], arguments].concat();
        let id = &self.run(&all)["restriction"]["id"];
        id.as_str().unwrap().to_owned()
    }

    /// What is written in a document.
    pub(crate) fn text(&self, document: &str) -> String {
        let export = ["doc", "export", document, "--format", "text"];
        output(self.command(&export))
    }

    /// The right of the only session of this subject.
    pub(crate) fn right(&self, subject: &str) -> Value {
        let listed = self.run(&["session", "list", "--subject", subject]);
        assert_eq!(listed["total"], 1, "{listed}");
        listed["sessions"][0]["right"].clone()
    }

    /// Waits until the only session of this subject has a right.
    pub(crate) fn until_right(&self, subject: &str, right: &str) {
        let begun = Instant::now();
        while self.right(subject) != right {
            assert!(begun.elapsed() < PATIENCE, "{subject} never gets {right}");
        }
    }

    /// Waits until this subject has no session.
    pub(crate) fn until_left(&self, subject: &str) {
        let begun = Instant::now();
        while self.run(&["session", "list", "--subject", subject])["total"] != 0 {
            assert!(begun.elapsed() < PATIENCE, "{subject} never leaves");
        }
    }

    /// Waits until the metrics have this line.
    pub(crate) fn until_counted(&self, line: &str) {
        let begun = Instant::now();
        while !self.counts(line) {
            assert!(begun.elapsed() < PATIENCE, "never counted: {line}");
        }
    }

    /// What a path answers, head and body.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Whether `/metrics` has this line.
    pub(crate) fn counts(&self, line: &str) -> bool {
        self.get("/metrics").lines().any(|found| found == line)
    }

    /// Ends the server and returns its folder.
    pub(crate) fn stopped(mut self) -> PathBuf {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &process]).status();
        assert!(sent.unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.folder.disable_cleanup(true);
        self.folder.path().to_path_buf()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command on a data folder.
pub(crate) fn on(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = driftless(arguments);
    command.arg("--data").arg(folder);
    command
}

/// Runs a command for its JSON.
pub(crate) fn json(mut command: Command) -> Value {
    command.arg("--json");
    serde_json::from_str(&output(command)).unwrap()
}
