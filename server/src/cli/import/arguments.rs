//! What can be typed behind `driftless import`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

pub(in super::super) const IMPORT_HELP: &str = "\
Exit codes: 0 every document came over, 4 some were refused or are in conflict, 6 some are damaged \
or were not read back as written; the report names them.

Examples:
  driftless import hocuspocus --sqlite db.sqlite --dry-run
  driftless import hocuspocus --sqlite db.sqlite --data /var/lib/driftless --report report.json
  PGPASSWORD=… driftless import hocuspocus --postgres postgres://reader@db/app --table documents
  driftless import y-sweet ./data --add-prefix y-sweet/
  driftless import y-websocket ./dbDir --only 'team/*'
  driftless import updates ./exported";

/// The options of all sources, and the source.
#[derive(Debug, Args)]
pub(in super::super) struct ImportArguments {
    /// Read and check everything, and write nothing
    #[arg(long, global = true)]
    pub(super) dry_run: bool,
    /// Merge into documents that have other content here, as two Yjs clients would
    #[arg(long, global = true)]
    pub(super) merge: bool,
    /// Import documents without those of their edits that need others which are not stored there
    ///
    /// Such edits are pending: nobody ever saw them. Without this flag the document is refused.
    #[arg(long, global = true)]
    pub(super) drop_pending: bool,
    /// Only documents of this name; `*` stands for any text
    #[arg(long, global = true, value_name = "PATTERN")]
    pub(super) only: Option<String>,
    /// Take this off names that start so
    #[arg(long, global = true, value_name = "TEXT", default_value = "")]
    pub(super) strip_prefix: String,
    /// Put this before every name
    #[arg(long, global = true, value_name = "TEXT", default_value = "")]
    pub(super) add_prefix: String,
    /// Write the report to this file, as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) source: SourceArguments,
}

/// Where documents come from.
#[derive(Debug, Subcommand)]
pub(super) enum SourceArguments {
    /// The database of a Hocuspocus server, which is only read
    ///
    /// Reads what @hocuspocus/extension-sqlite stores, and any table with a column of names and one
    /// of Yjs v1 updates. Several rows of one name are merged.
    #[command(group(ArgGroup::new("database").required(true).args(["sqlite", "postgres"])))]
    Hocuspocus {
        /// The file that its SQLite extension writes
        #[arg(long, value_name = "FILE")]
        sqlite: Option<PathBuf>,
        /// The database of its own storage, postgres://user@host:5432/database
        ///
        /// A password in it can be seen by other users of the machine; PGPASSWORD and ~/.pgpass are
        /// read, too.
        #[arg(long, value_name = "URL")]
        postgres: Option<String>,
        /// The table; in PostgreSQL also SCHEMA.TABLE
        #[arg(long, default_value = "documents")]
        table: String,
        /// The column of the names
        #[arg(long, value_name = "COLUMN", default_value = "name")]
        name_column: String,
        /// The column of the updates
        #[arg(long, value_name = "COLUMN", default_value = "data")]
        data_column: String,
    },
    /// The folder of a y-sweet server, or a copy of its S3 bucket
    ///
    /// Reads FOLDER/{document}/data.ysweet.
    YSweet {
        /// What `y-sweet serve` was given
        folder: PathBuf,
    },
    /// The LevelDB folder of a y-websocket server (YPERSISTENCE), which must be stopped
    YWebsocket {
        /// What YPERSISTENCE was set to
        folder: PathBuf,
        /// Take names as they are: they are no paths of URLs, since the server named them itself
        #[arg(long)]
        plain_names: bool,
    },
    /// A folder of files with one Yjs v1 update each
    ///
    /// A file's name is the document's, percent-encoded, with or without `.update` behind it.
    Updates {
        /// Where the files are
        folder: PathBuf,
    },
}
