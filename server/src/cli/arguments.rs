//! What can be typed, and the help pages.

use clap::{Parser, Subcommand};

use crate::config::ServerFlags;

const AFTER_HELP: &str = "\
Settings come from flags, DRIFTLESS_* variables and a TOML file (--config), in that order; \
`driftless serve --help` lists them, `driftless config` shows what takes effect and why.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 not found, 4 refused, \
5 not possible now (try again), 6 stored data is damaged.

Examples:
  driftless serve
  DRIFTLESS_RELAY=durable driftless serve --data /var/lib/driftless
  driftless config --config driftless.toml";

const SERVE_HELP: &str = "\
Serves until SIGTERM or Ctrl-C: then it commits everything, tells clients to come back and exits \
with 0; a second signal stops at once. What it serves and where is printed at the start.

Examples:
  driftless serve
  driftless serve --listen 127.0.0.1:9000 --data /var/lib/driftless --relay durable
  driftless serve --allow-origin https://app.example.com --document-bytes-max 64MiB";

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
}
