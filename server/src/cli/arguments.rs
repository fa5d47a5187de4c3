//! What can be typed, and the help pages.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::{FolderFlags, ServerFlags};

const AFTER_HELP: &str = "\
Settings come from flags, DRIFTLESS_* variables and a TOML file (--config), in that order; \
`driftless serve --help` lists them, `driftless config` shows what takes effect and why.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found, 4 refused, \
5 not possible now (try again), 6 stored data is damaged.

Examples:
  driftless serve
  DRIFTLESS_RELAY=durable driftless serve --data /var/lib/driftless
  driftless config --config driftless.toml
  driftless doc list
  driftless backup nightly.db";

const SERVE_HELP: &str = "\
Serves until SIGTERM or Ctrl-C: then it commits everything, tells clients to come back and exits \
with 0; a second signal stops at once. What it serves and where is printed at the start.

Examples:
  driftless serve
  driftless serve --listen 127.0.0.1:9000 --data /var/lib/driftless --relay durable
  driftless serve --allow-origin https://app.example.com --document-bytes-max 64MiB";

const DOC_HELP: &str = "\
Works through the admin socket in the data folder while a server runs there, and on the folder \
itself when none does; the results are the same. The socket belongs to the user who runs the server.

Examples:
  driftless doc list notes/
  driftless doc show notes/todo --json
  driftless doc export notes/todo --format text
  driftless doc export notes/todo -o todo.update
  driftless doc import notes/copy todo.update
  driftless doc verify && echo all is well";

const DOCTOR_HELP: &str = "\
Examples:
  driftless doctor
  driftless doctor --store postgres://driftless@db/driftless --bus redis://cache:6379
  driftless doctor --config /etc/driftless.toml --json";

const MIGRATE_HELP: &str = "\
Before a roll-out whose nodes may only read and write rows, run it with the role that owns the \
database; `driftless doctor` names the rights that the nodes' role lacks.

Examples:
  driftless migrate --dry-run --store postgres://owner@db/driftless
  DRIFTLESS_STORE=postgres://owner:password@db/driftless driftless migrate
  driftless migrate --data /var/lib/driftless";

const COPY_HELP: &str = "\
Passwords on a command line can be seen by other users of the machine; DRIFTLESS_STORE cannot.

Examples:
  driftless store copy --from sqlite:/var/lib/driftless --to postgres://driftless@db/driftless
  DRIFTLESS_STORE=postgres://driftless:password@db/driftless driftless store copy
  driftless store copy --from postgres://driftless@db/driftless --to sqlite:/var/lib/driftless";

/// Self-hosted, Yjs-compatible sync server: acknowledged means durable.
#[derive(Debug, Parser)]
#[command(name = "driftless", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Run the server
    #[command(after_help = SERVE_HELP)]
    Serve {
        #[command(flatten)]
        flags: ServerFlags,
    },
    /// Print the effective settings and where each comes from
    ///
    /// The output is itself a settings file: `driftless config > driftless.toml`.
    Config {
        #[command(flatten)]
        flags: ServerFlags,
        /// Print JSON: sizes in bytes, durations in milliseconds
        #[arg(long)]
        json: bool,
    },
    /// Check everything that a server needs: data folder, store, bus, clocks, rights
    ///
    /// Takes the settings of `serve` and prints a line for each thing, with what to do. Changes
    /// nothing. Exit code 0 when a server would work.
    #[command(after_help = DOCTOR_HELP)]
    Doctor {
        #[command(flatten)]
        flags: ServerFlags,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Bring the store's schema up to date
    ///
    /// Nodes do it at their start, too: this is for roll-outs whose nodes may not change the
    /// schema. Any number of them may run at a time.
    #[command(after_help = MIGRATE_HELP)]
    Migrate {
        #[command(flatten)]
        flags: FolderFlags,
        /// Only list what would be applied
        #[arg(long, conflicts_with = "new_cluster_id")]
        dry_run: bool,
        /// Give the database a new cluster id: for a copy that is to live beside its original
        #[arg(long)]
        new_cluster_id: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy all documents from one store to another
    Store {
        #[command(flatten)]
        flags: FolderFlags,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Look at, export, import, delete and repair documents
    #[command(after_help = DOC_HELP)]
    Doc {
        #[command(flatten)]
        flags: FolderFlags,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: DocumentCommand,
    },
    /// Copy all documents into one new file, also while the server runs
    ///
    /// The copy is consistent and complete. An existing file is never overwritten.
    Backup {
        #[command(flatten)]
        flags: FolderFlags,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The file to create
        file: PathBuf,
    },
    /// Fill a new data folder from a backup
    ///
    /// The server must be stopped. A folder that holds documents is never overwritten: give an
    /// empty or new one with --data.
    Restore {
        #[command(flatten)]
        flags: FolderFlags,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The backup to read
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy all documents with their kept history from one store to another
    ///
    /// A data folder must not be served meanwhile. Stopped at any moment and run again it goes on
    /// where it was: documents that are equal are skipped. Every document is read back from the
    /// target and compared. A document of the target that holds what the source does not is never
    /// overwritten; damaged documents are named and left out. What a repair once cut away is not
    /// copied.
    #[command(after_help = COPY_HELP)]
    Copy {
        /// The store to read: `sqlite:PATH` of a data folder, `sqlite:` for that of --data, or
        /// postgres://user:password@host:5432/database
        #[arg(long, value_name = "URL", default_value = "sqlite:")]
        from: String,
        /// The store to fill, written alike; the one of --store (DRIFTLESS_STORE) when left out
        #[arg(long, value_name = "URL")]
        to: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum DocumentCommand {
    /// List documents by name
    List {
        /// Only names that start so
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Describe one document
    Show {
        /// The document's name
        name: String,
    },
    /// Write a document's current state to a file or standard output
    ///
    /// `update` is complete and can be imported again. `json` and `text` are for reading: the
    /// protocol does not say what type a root has, so each is shown by what it holds, and
    /// formatting of text is left out.
    Export {
        /// The document's name
        name: String,
        /// How the state is written
        #[arg(long, value_enum, default_value_t = ExportFormat::Update)]
        format: ExportFormat,
        /// The root to read as text (such as `body` of `doc.getText('body')`); only needed when
        /// the document has several
        #[arg(long)]
        root: Option<String>,
        /// Write to this file instead of standard output, replacing it only once all is written
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Merge an update into a document, whole or not at all
    ///
    /// Takes a Yjs v1 update (`Y.encodeStateAsUpdate(doc)` or `driftless doc export`). Importing
    /// the same update twice changes nothing.
    Import {
        /// The document's name; it is created if it is not there
        name: String,
        /// The update, or - for standard input
        file: PathBuf,
    },
    /// Delete a document for good and end its sessions
    ///
    /// What remains is a mark that keeps old copies in browsers from bringing it back. Export it
    /// first if in doubt.
    Delete {
        /// The document's name
        name: String,
    },
    /// Read one document, or all and the database itself, and report damage (exit code 6)
    Verify {
        /// The document's name; all when left out
        name: Option<String>,
    },
    /// Cut a damaged document back to its last good edit
    ///
    /// What is cut is kept aside in the database, not destroyed.
    Repair {
        /// The document's name
        name: String,
    },
    /// Make a quarantined document writable again
    Release {
        /// The document's name
        name: String,
    },
    /// Make a document's actor panic or stall, for tests (feature fault-injection)
    #[cfg(feature = "fault-injection")]
    Harm {
        /// The document's name
        name: String,
        /// Block its thread for so many milliseconds instead of panicking
        #[arg(long)]
        stall_ms: Option<u64>,
    },
}

/// How a state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// One Yjs v1 update, binary and complete
    Update,
    /// One JSON object, a key per root
    Json,
    /// The characters of one root
    Text,
}
