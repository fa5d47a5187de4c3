//! What can be typed, and the help pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::access::{ACCESS_HELP, AccessCommand, SESSION_HELP, SessionCommand};
use super::import::{IMPORT_HELP, ImportArguments};
use crate::auth::generate::KeyKind;
use crate::config::{FolderFlags, ServerFlags, SigningFlags};

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
  driftless backup nightly.db
  driftless keys generate
  driftless token --auth-signing-key driftless.key --doc 'team/*=write' --sub ada";

const SERVE_HELP: &str = "\
Serves until SIGTERM or Ctrl-C: then it commits everything, tells clients to come back and exits \
with 0; a second signal stops at once. What it serves and where is printed at the start.

Examples:
  driftless serve
  driftless serve --listen 127.0.0.1:9000 --data /var/lib/driftless --relay durable
  driftless serve --allow-origin https://app.example.com --document-bytes-max 64MiB
  driftless serve --listen 0.0.0.0:8080 --auth-keys driftless.key.pub";

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

const TOKEN_HELP: &str = "\
A pattern is a document's name in which * stands for any run of characters, slashes included. Of \
several that match a document the most specific one counts. Rights: none, read, comment (read and be \
present), write, admin; each includes those before it.

Examples:
  driftless token --auth-signing-key driftless.key --doc 'team/*=write' --sub ada --ttl 1h
  driftless token --config driftless.toml --doc '*=read' --doc 'team/*=write' --ttl 15m
  DRIFTLESS_AUTH_SECRET=\"$(cat secret)\" driftless token --doc 'todo=admin' --sub root";

const KEYS_HELP: &str = "\
Examples:
  driftless keys generate
  driftless keys generate --algorithm hs256 --out secret
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out rsa.key   (RS256)";

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
    /// Bring documents of Hocuspocus, y-sweet or y-websocket into the store
    ///
    /// Every edit passes the same checks as a client's. Each document is read back and compared.
    /// Stopped at any moment and run again it goes on where it was; what is there already is left
    /// as it is. A document that has other content here is left alone, unless --merge is given. A
    /// data folder must not be served meanwhile; into PostgreSQL an import may run beside live nodes.
    #[command(after_help = IMPORT_HELP)]
    Import {
        #[command(flatten)]
        flags: FolderFlags,
        #[command(flatten)]
        wanted: ImportArguments,
    },
    /// Look at, export, import, delete and repair documents
    #[command(after_help = DOC_HELP)]
    Doc(OnStore<DocumentCommand>),
    /// See who is connected, end sessions, have their access judged anew
    #[command(after_help = SESSION_HELP)]
    Session(OnStore<SessionCommand>),
    /// Take access back, for a while or until it is lifted, on all nodes
    #[command(after_help = ACCESS_HELP)]
    Access(OnStore<AccessCommand>),
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
    /// Mint a token and print it
    ///
    /// Signs with auth_signing_key, or with auth_secret. Audience and issuer are those of the
    /// settings unless given here.
    #[command(after_help = TOKEN_HELP)]
    Token {
        #[command(flatten)]
        flags: SigningFlags,
        #[command(flatten)]
        wanted: TokenArguments,
    },
    /// Make keys that tokens are signed and verified with
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// Documents and the right on them; repeat for more
    #[arg(long = "doc", value_name = "PATTERN=RIGHT", required = true)]
    pub(super) documents: Vec<String>,
    /// Who it is for (sub)
    #[arg(long, value_name = "NAME")]
    pub(super) sub: Option<String>,
    /// How long it is good
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(super) ttl: String,
    /// After how long it begins (nbf)
    #[arg(long, value_name = "DURATION")]
    pub(super) not_before: Option<String>,
    /// Whom it is meant for (aud)
    #[arg(long, value_name = "NAME")]
    pub(super) aud: Option<String>,
    /// Who issues it (iss)
    #[arg(long, value_name = "NAME")]
    pub(super) iss: Option<String>,
    /// Its own id (jti), by which it can be revoked; random when left out
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<String>,
    /// Let its holder bring edits of others (matters with client_ids = bound)
    #[arg(long)]
    pub(super) relay: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a new key and say how to use it
    ///
    /// Writes the private key (mode 0600), and the public one beside it with .pub behind its name.
    /// An existing file is never overwritten.
    #[command(after_help = KEYS_HELP)]
    Generate {
        /// For which signatures
        #[arg(long, value_enum, default_value_t = KeyAlgorithm::Ed25519)]
        algorithm: KeyAlgorithm,
        /// The file of the private key or secret
        #[arg(long, value_name = "FILE", default_value = "driftless.key")]
        out: PathBuf,
    },
}

/// For which signatures a key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyAlgorithm {
    /// EdDSA: small and fast
    Ed25519,
    /// ECDSA on P-256, for issuers that know no EdDSA
    Es256,
    /// A secret that issuer and server share
    Hs256,
}

impl From<KeyAlgorithm> for KeyKind {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Ed25519 => Self::Ed25519,
            KeyAlgorithm::Es256 => Self::Es256,
            KeyAlgorithm::Hs256 => Self::Hs256,
        }
    }
}

/// Commands on a running server, or on the store of a stopped one.
#[derive(Debug, Args)]
pub(super) struct OnStore<C: Subcommand> {
    #[command(flatten)]
    pub(super) flags: FolderFlags,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: C,
}

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy all documents with their kept history from one store to another
    ///
    /// A data folder must not be served meanwhile. Stopped at any moment and run again it goes on
    /// where it was: documents that are equal are skipped. Every document is read back from the
    /// target and compared. A document of the target that holds what the source does not is never
    /// overwritten; damaged documents are named and left out. What a repair once cut away is not
    /// copied. Restrictions of access are copied, too; those that only the target has stay.
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
    /// Describe one document; with `client_ids = bound` also whose its client ids are
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
