//! The servers that are compared: how each is installed, started, and where its rooms are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One server with its own defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Version and what it stores, for the table's foot.
    pub(super) about: &'static str,
    /// Commands that install it, in the repository's root.
    install: &'static [&'static [&'static str]],
    /// Its command; `{root}`, `{data}`, `{port}` and `{self}` (this program) are filled in.
    command: &'static str,
    /// Where rooms are, behind `ws://127.0.0.1:PORT`.
    path: &'static str,
    /// It answers step 1 with the document.
    pub(super) holds_documents: bool,
}

/// In the order of the tables; the last one bounds the others.
pub(super) const SERVERS: [Server; 8] = [
    Server {
        name: "driftless",
        about: "this repository, release build; every change is committed to SQLite \
                (WAL, synchronous=FULL)",
        install: &[&[
            "cargo",
            "build",
            "--locked",
            "--release",
            "--package",
            "driftless",
        ]],
        command: "{root}/target/release/driftless serve --listen 127.0.0.1:{port} --data {data}",
        path: "/ws",
        holds_documents: true,
    },
    Server {
        name: "driftless, hocuspocus door",
        about: "the same server, spoken to in Hocuspocus' dialect: an answer to every change, after \
                its commit",
        install: &[&[
            "cargo",
            "build",
            "--locked",
            "--release",
            "--package",
            "driftless",
        ]],
        command: "{root}/target/release/driftless serve --listen 127.0.0.1:{port} --data {data}",
        path: "/hocuspocus",
        holds_documents: true,
    },
    Server {
        name: "yrs-warp",
        about: "yrs-warp 0.9.0, the example of its README with a buffer of 1,024; stores nothing",
        install: &[&[
            "cargo",
            "build",
            "--locked",
            "--release",
            "--manifest-path",
            "loadtest/peers/yrs-warp/Cargo.toml",
            "--target-dir",
            "target/peers",
        ]],
        command: "{root}/target/peers/release/yrs-warp-example {port}",
        path: "/ws",
        holds_documents: true,
    },
    Server {
        name: "y-sweet",
        about: "y-sweet 0.9.1, release build; writes whole documents to files every 10 s",
        install: &[&[
            "cargo",
            "install",
            "--locked",
            "--version",
            "0.9.1",
            "--root",
            "target/peers/y-sweet",
            "--target-dir",
            "target/peers",
            "y-sweet",
        ]],
        command: "{root}/target/peers/y-sweet/bin/y-sweet serve --host 127.0.0.1 --port {port} \
                  {data}",
        path: "/doc/ws",
        holds_documents: true,
    },
    Server {
        name: "hocuspocus",
        about: "@hocuspocus/server 4.7.0; stores nothing",
        install: &[&["npm", "ci", "--prefix", "loadtest/peers/hocuspocus"]],
        command: "node {root}/loadtest/peers/hocuspocus/server.mjs {port}",
        path: "",
        holds_documents: true,
    },
    Server {
        name: "hocuspocus + sqlite",
        about: "the same with its SQLite extension; writes whole documents after 2 s without an \
                edit, 10 s at most",
        install: &[&["npm", "ci", "--prefix", "loadtest/peers/hocuspocus"]],
        command: "node {root}/loadtest/peers/hocuspocus/server.mjs {port} {data}",
        path: "",
        holds_documents: true,
    },
    Server {
        name: "y-websocket",
        about: "@y/websocket-server 0.1.5; stores nothing",
        install: &[&["npm", "ci", "--prefix", "loadtest/peers/y-websocket"]],
        command: "env HOST=127.0.0.1 PORT={port} node \
                  {root}/loadtest/peers/y-websocket/node_modules/@y/websocket-server/src/server.js",
        path: "",
        holds_documents: true,
    },
    Server {
        name: "bare relay",
        about: "part of this load generator: no CRDT, no checks, no storage; one write for all that \
                waits for a socket. It bounds what a server can reach",
        install: &[],
        command: "{self} relay --listen 127.0.0.1:{port}",
        path: "",
        holds_documents: false,
    },
];

/// A server that is ready to be started.
#[derive(Debug, Clone)]
pub(super) struct Installed {
    pub(super) server: Server,
    root: PathBuf,
    program: PathBuf,
}

impl Server {
    /// Installs what is missing. The error says why the server is not in the tables.
    pub(super) fn install(self, root: &Path, program: &Path) -> Result<Installed, String> {
        for words in self.install {
            let Some((name, arguments)) = words.split_first() else {
                continue;
            };
            let output = Command::new(name)
                .args(arguments)
                .current_dir(root)
                .stdin(Stdio::null())
                .output()
                .map_err(|error| format!("`{name}`: {error}"))?;
            if !output.status.success() {
                let told = String::from_utf8_lossy(&output.stderr);
                let last = told.lines().rev().find(|line| !line.trim().is_empty());
                return Err(format!(
                    "`{}` failed: {}",
                    words.join(" "),
                    last.unwrap_or("it does not say why")
                ));
            }
        }
        Ok(Installed {
            server: self,
            root: root.to_owned(),
            program: program.to_owned(),
        })
    }
}

impl Server {
    /// It speaks the dialect of Hocuspocus.
    pub(super) fn is_hocuspocus(&self) -> bool {
        self.name.contains("hocuspocus")
    }
}

impl Installed {
    /// The command that starts it on these CPUs.
    pub(super) fn command(&self, cpus: &str, port: u16, data: &Path) -> String {
        let command = self
            .server
            .command
            .replace("{root}", &self.root.display().to_string())
            .replace("{self}", &self.program.display().to_string())
            .replace("{data}", &data.display().to_string())
            .replace("{port}", &port.to_string());
        format!("taskset -c {cpus} {command}")
    }

    pub(super) fn url(&self, port: u16) -> String {
        format!("ws://127.0.0.1:{port}{}", self.server.path)
    }
}
