//! PostgreSQL: initialized once, killed and started again, put aside and set back to that state.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::error::ClusterError;
use crate::part::{Part, Process};
use crate::{place, programs};

/// The server refuses to run as root.
pub(crate) const USER: &str = "postgres";

/// Nodes hold up to 16 each; tests of a store open many stores.
const CONNECTIONS_MAX: u32 = 400;

/// A PostgreSQL server with a data folder of its own.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    folder: PathBuf,
}

impl Postgres {
    /// Initializes a data folder below `parent`; nothing runs yet. Port 0 is a free one.
    pub fn new(parent: &Path, port: u16) -> Result<Self, ClusterError> {
        let programs = programs::postgres()?;
        let folder = place::make_folder(parent, "postgres")?;
        give_away(&folder)?;
        let port = if port == 0 { place::free_port()? } else { port };
        let mut initialize = programs::bound(&programs.join("initdb"), Some(USER));
        initialize
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--no-sync", "-D"])
            .arg(folder.join("data"))
            .current_dir(&folder);
        programs::run(&mut initialize)?;
        Ok(Self {
            process: Process::new("postgres", port, parent.join("postgres.log")),
            programs,
            folder,
        })
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        url(self.process.port(), database)
    }

    /// Makes an empty database and returns its URL.
    pub fn create_database(&self, name: &str) -> Result<String, ClusterError> {
        programs::run(self.client("createdb").arg(name))?;
        Ok(self.url(name))
    }

    /// One of its client programs.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        let port = self.process.port().to_string();
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]);
        command
    }

    /// Stops it, keeps a copy of all its data, and starts it again.
    pub fn put_aside(&mut self) -> Result<(), ClusterError> {
        self.stop();
        self.copy("data", "aside")?;
        self.start()
    }

    /// Kills it, puts the kept copy in the place of its data, and starts it again: what a restored
    /// backup or a standby that lagged looks like. Does nothing without a copy.
    pub fn set_back(&mut self) -> Result<(), ClusterError> {
        if !self.folder.join("aside").is_dir() {
            return Ok(());
        }
        self.kill();
        self.copy("aside", "data")?;
        self.start()
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), ClusterError> {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        if to.exists() {
            std::fs::remove_dir_all(&to).map_err(ClusterError::io("remove old data"))?;
        }
        programs::run(Command::new("cp").arg("-a").arg(from).arg(to))
    }
}

impl Part for Postgres {
    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let mut command = programs::bound(&self.programs.join("postgres"), Some(USER));
        command
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.process.port().to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", &format!("max_connections={CONNECTIONS_MAX}")])
            .current_dir(&self.folder);
        Ok(command)
    }

    fn is_ready(&self) -> bool {
        // A server that starts or recovers has an open port already; this asks for more.
        let mut question = self.client("pg_isready");
        question.args(["-t", "1"]);
        programs::run(&mut question).is_ok()
    }

    /// The "fast" stop: sessions are ended, what was committed is kept.
    fn stop_signal(&self) -> Signal {
        Signal::INT
    }
}

/// The URL of a database at a port of loopback.
pub(crate) fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// The folder has to be its user's own.
fn give_away(folder: &Path) -> Result<(), ClusterError> {
    if !programs::is_root() {
        return Ok(());
    }
    programs::run(Command::new("chown").arg("postgres:postgres").arg(folder))
}
