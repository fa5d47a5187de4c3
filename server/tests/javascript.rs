//! Runs the unmodified clients from npm, in `server/tests/js`, against this build's binary.
//!
//! `cargo xtask test` installs what they need. `TEST_KILLS=200` makes the `kill -9` loops long,
//! `TEST_SEED` repeats the random edits of a failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use certificates::{Folder, Pair};
use driftless_cluster::{Cluster, ClusterOptions, NodeOptions, Part};

#[path = "websocket/certificates.rs"]
mod certificates;

/// Tests mostly wait, so more files than cores run at a time.
const NODE_FILES_AT_A_TIME: usize = 6;

/// A browser is heavy; one file at a time.
const CHROMIUM_FILES_AT_A_TIME: usize = 1;

/// Generous: the quiet document alone takes 92 s.
const FILE_TIMEOUT_MS: usize = 600_000;

#[test]
fn js_clients_in_node() {
    let folder = Folder::holding(&Pair::new("127.0.0.1"));
    let certificate = folder.certificate_path();
    let variables = [
        ("TEST_CERTIFICATE_FOLDER", folder.path()),
        ("NODE_EXTRA_CA_CERTS", &certificate),
    ];
    let folders = ["clients", "hocuspocus", "ysweet", "wire", "durability"];
    run_with(&folders, NODE_FILES_AT_A_TIME, &variables);
}

#[test]
fn js_clients_in_node_on_three_nodes() {
    let options = ClusterOptions {
        nodes: 3,
        node: NodeOptions {
            binary: env!("CARGO_BIN_EXE_driftless").into(),
            // A busy machine may take longer than the default to move.
            arguments: vec!["--presence-grace-ms=6s".into()],
        },
        postgres_port: 0,
        has_links: false,
        says_who: false,
    };
    let mut cluster = Cluster::start(&options).expect("a cluster starts");
    let mut places = vec![cluster.balancer().address().to_string()];
    places.extend(
        cluster
            .nodes()
            .iter()
            .map(|node| node.address().to_string()),
    );
    run_with(
        &["cluster"],
        1,
        &[("DRIFTLESS_CLUSTER", places.join(",").as_ref())],
    );
    assert_eq!(cluster.stop(), [""; 0], "every part ends by itself");
}

#[test]
fn js_clients_in_chromium() {
    run(&["browser"], CHROMIUM_FILES_AT_A_TIME);
}

fn run(folders: &[&str], files_at_a_time: usize) {
    run_with(folders, files_at_a_time, &[]);
}

fn run_with(folders: &[&str], files_at_a_time: usize, variables: &[(&str, &Path)]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    assert!(
        root.join("node_modules").is_dir(),
        "run `cargo xtask test`, or `npm ci` in {}",
        root.display()
    );
    let files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|name| test_files(&root.join(name)))
        .collect();
    assert!(!files.is_empty());
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .arg(format!("--test-concurrency={files_at_a_time}"))
        .arg(format!("--test-timeout={FILE_TIMEOUT_MS}"))
        .args(files)
        .current_dir(&root)
        .env("DRIFTLESS_BIN", env!("CARGO_BIN_EXE_driftless"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .status()
        .expect("Node.js 20 or newer is installed");
    assert!(
        status.success(),
        "the JavaScript tests failed, see above ({status})"
    );
}

fn test_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.to_string_lossy().ends_with(".test.js"))
        .collect();
    files.sort();
    files
}
