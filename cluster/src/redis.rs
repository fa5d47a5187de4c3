//! Redis: a password, nothing on disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;
use crate::part::{Part, Process, ask};
use crate::{place, programs};

/// Not secret: the server listens on loopback for as long as a test runs. Nodes have to send one.
const PASSWORD: &str = "local";

/// A Redis server without a memory.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    program: PathBuf,
    folder: PathBuf,
}

impl Redis {
    /// Prepares a folder below `parent`; nothing runs yet.
    pub fn new(parent: &Path) -> Result<Self, ClusterError> {
        let program = programs::find("redis-server")?;
        let folder = place::make_folder(parent, "redis")?;
        let process = Process::new("redis", place::free_port()?, parent.join("redis.log"));
        Ok(Self {
            process,
            program,
            folder,
        })
    }

    /// Its URL, password included.
    pub fn url(&self) -> String {
        url(self.process.port())
    }
}

impl Part for Redis {
    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let mut command = programs::bound(&self.program, None);
        command
            .args(["--bind", "127.0.0.1"])
            .args(["--port", &self.process.port().to_string()])
            .args([
                "--requirepass",
                PASSWORD,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .current_dir(&self.folder);
        Ok(command)
    }

    fn is_ready(&self) -> bool {
        let question = format!("AUTH {PASSWORD}\r\n");
        ask(self.process.port(), question.as_bytes()).is_some_and(|it| it.starts_with(b"+OK"))
    }
}

/// The URL of a server at a port of loopback.
pub(crate) fn url(port: u16) -> String {
    format!("redis://:{PASSWORD}@127.0.0.1:{port}")
}
