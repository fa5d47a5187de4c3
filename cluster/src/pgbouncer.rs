//! pgbouncer: a proxy before PostgreSQL that gives a connection for the time of a transaction.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;
use crate::part::{Part, Process};
use crate::{place, postgres, programs};

/// Few, so that what relies on a session goes wrong at once.
const SERVER_CONNECTIONS: usize = 3;

/// Connections of all tests of a process together.
const CLIENT_CONNECTIONS_MAX: usize = 1_000;

/// A proxy that pools transactions.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    program: PathBuf,
    settings: PathBuf,
}

impl PgBouncer {
    /// Prepares a folder below `parent` for a proxy before the server at this port of loopback; nothing
    /// runs yet.
    pub fn new(parent: &Path, server: u16) -> Result<Self, ClusterError> {
        let program = programs::find("pgbouncer")?;
        let folder = place::make_folder(parent, "pgbouncer")?;
        let port = place::free_port()?;
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=postgres\n\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n\
             max_client_conn = {CLIENT_CONNECTIONS_MAX}\n\
             ignore_startup_parameters = extra_float_digits\n"
        );
        std::fs::write(&settings, text)
            .map_err(ClusterError::io(format!("write {}", settings.display())))?;
        Ok(Self {
            process: Process::new("pgbouncer", port, parent.join("pgbouncer.log")),
            program,
            settings,
        })
    }

    /// The URL of a database through the proxy.
    pub fn url(&self, database: &str) -> String {
        postgres::url(self.process.port(), database)
    }
}

impl Part for PgBouncer {
    fn process(&self) -> &Process {
        &self.process
    }

    fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    fn command(&self) -> Result<Command, ClusterError> {
        let mut command = programs::bound(&self.program, Some(postgres::USER));
        command.arg(&self.settings);
        Ok(command)
    }

    fn is_ready(&self) -> bool {
        std::net::TcpStream::connect(self.address()).is_ok()
    }
}
