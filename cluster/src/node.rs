//! A node: the server's binary with a port and a data folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;
use crate::part::{Part, Process, ask};
use crate::{place, programs};

/// What all nodes have in common.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The server's binary.
    pub binary: PathBuf,
    /// Further settings, as words of the command line.
    pub arguments: Vec<String>,
}

/// A node of the cluster.
#[derive(Debug)]
pub struct Node {
    process: Process,
    options: NodeOptions,
    folder: PathBuf,
    store: String,
    bus: String,
}

impl Node {
    /// Prepares the folder of node `number` below `parent`; nothing runs yet.
    pub fn new(
        parent: &Path,
        number: usize,
        options: &NodeOptions,
        store: String,
        bus: String,
    ) -> Result<Self, ClusterError> {
        let name = format!("node-{number}");
        let folder = place::make_folder(parent, &name)?;
        let log = parent.join(format!("{name}.log"));
        Ok(Self {
            process: Process::new(name, place::free_port()?, log),
            options: options.clone(),
            folder,
            store,
            bus,
        })
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Option<String> {
        let mut whole = Vec::new();
        let mut stream = std::net::TcpStream::connect(self.address()).ok()?;
        let patience = Some(std::time::Duration::from_secs(2));
        stream.set_read_timeout(patience).ok()?;
        std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        std::io::Read::read_to_end(&mut stream, &mut whole).ok()?;
        Some(String::from_utf8_lossy(&whole).into_owned())
    }
}

impl Part for Node {
    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let mut command = programs::bound(&self.options.binary, None);
        command
            .args(["serve", "--listen"])
            .arg(self.address().to_string())
            .arg("--data")
            .arg(&self.folder)
            .args(["--store", &self.store, "--bus", &self.bus])
            .args(&self.options.arguments)
            .current_dir(&self.folder);
        Ok(command)
    }

    fn is_ready(&self) -> bool {
        let request = b"GET /readyz HTTP/1.0\r\n\r\n";
        ask(self.process.port(), request).is_some_and(|answer| {
            let status = answer.split(|byte| *byte == b' ').nth(1);
            status == Some(b"200")
        })
    }
}
