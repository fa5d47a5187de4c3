//! The corpus on disk: one file an input, a folder a target.
//!
//! An input of the target `admission` is a sequence of updates, each with its length before it, that
//! one replica receives; of the others it is the bytes as they come.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use driftless_proto::wire::lib0::{Reader, put_bytes};

/// The most files that a run may add to a folder: enough to see what goes wrong, never a full disk.
const NEW_FILES_MAX: usize = 64;

/// The folder of a target's inputs.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// All inputs of a target, by file name; none when the folder does not exist.
pub fn load(target: &str) -> io::Result<Vec<(String, Bytes)>> {
    let folder = folder(target);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            inputs.push((name.into_owned(), fs::read(&path)?.into()));
        }
    }
    inputs.sort();
    Ok(inputs)
}

/// Adds an input under a name made of its content; at most [`NEW_FILES_MAX`] files with a prefix.
pub fn save(target: &str, prefix: &str, input: &[u8]) -> io::Result<Option<PathBuf>> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    let existing = fs::read_dir(&folder)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .count();
    if existing >= NEW_FILES_MAX {
        return Ok(None);
    }
    let path = folder.join(format!("{prefix}-{:016x}.bin", fingerprint(input)));
    fs::write(&path, input)?;
    Ok(Some(path))
}

/// Joins the updates that one replica receives into one input.
pub fn join(updates: &[Bytes]) -> Vec<u8> {
    let mut input = Vec::new();
    for update in updates {
        put_bytes(&mut input, update);
    }
    input
}

/// The updates of one input; a cut tail is left out.
pub fn split(input: &Bytes) -> Vec<Bytes> {
    let mut reader = Reader::new(input);
    let mut updates = Vec::new();
    while !reader.is_empty() {
        match reader.bytes() {
            Ok(update) => updates.push(Bytes::copy_from_slice(update)),
            Err(_) => break,
        }
    }
    updates
}

/// FNV-1a: a name, no more.
fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
