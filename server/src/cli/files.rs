//! Reads what is imported and writes what is exported.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{EXIT_FAILED, EXIT_NOT_FOUND, EXIT_REFUSED, Failure, unwritable};
use crate::config::units::show_size;

/// Reads a whole file, or `input` for `-`, up to `bytes_max`.
pub(super) fn read(path: &Path, input: &mut dyn Read, bytes_max: u64) -> Result<Bytes, Failure> {
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        input.take(bytes_max + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => EXIT_NOT_FOUND,
            _ => EXIT_FAILED,
        };
        Failure::new(code, format!("{shown} cannot be read: {error}"))
    })?;
    if bytes.len() as u64 > bytes_max {
        let limit = show_size(bytes_max);
        let told = format!("{shown} is larger than frame_bytes_max ({limit}), the largest update");
        return Err(Failure::new(EXIT_REFUSED, told));
    }
    Ok(bytes.into())
}

/// Writes a whole file: beside it first, then in its place, so that no half of it is ever there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let partial = beside(path);
    let written = File::create(&partial)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        let told = format!("{} cannot be written: {error}", path.display());
        Failure::new(EXIT_FAILED, told)
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Prints bytes as they are.
pub(super) fn print(bytes: &[u8], output: &mut dyn Write) -> Result<(), Failure> {
    output.write_all(bytes).map_err(unwritable)
}
