//! Imports what real servers and stores from npm left behind, in `server/tests/import`, with this
//! build's binary.
//!
//! `cargo xtask test` installs what they need.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Stdio};

/// Generous: the longest file takes half a minute.
const FILE_TIMEOUT_MS: usize = 600_000;

#[test]
fn documents_of_real_servers_come_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    assert!(
        root.join("node_modules").is_dir(),
        "run `cargo xtask test`, or `npm ci` in {}",
        root.display()
    );
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .arg(format!("--test-timeout={FILE_TIMEOUT_MS}"))
        .args(["hocuspocus.test.js", "y-leveldb.test.js"])
        .current_dir(&root)
        .env("DRIFTLESS_BIN", env!("CARGO_BIN_EXE_driftless"))
        .stdin(Stdio::null())
        .status()
        .expect("Node.js 20 or newer is installed");
    assert!(status.success(), "the imports failed, see above ({status})");
}
