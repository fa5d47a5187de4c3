//! `driftless keys generate`: new key files, and how to use them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::arguments::KeyAlgorithm;
use super::{EXIT_FAILED, EXIT_REFUSED, Failure, files};
use crate::auth::generate;

/// Only the owner may read it.
const PRIVATE_MODE: u32 = 0o600;

/// What everybody may read.
const PUBLIC_MODE: u32 = 0o644;

/// Writes the key files and prints what to do with them.
pub(super) fn generate(
    algorithm: KeyAlgorithm,
    private: &Path,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let public = beside(private);
    let key = generate::generate(algorithm.into());
    let key = key.map_err(|error| Failure::new(EXIT_FAILED, error))?;
    let has_public = key.public.is_some();
    if has_public && public.exists() {
        return Err(unwritable(&public, &io::ErrorKind::AlreadyExists.into()));
    }
    write(private, &key.private, PRIVATE_MODE)?;
    if let Some(text) = &key.public {
        write(&public, text, PUBLIC_MODE)?;
    }
    let (private, public) = (private.display(), public.display());
    let example = "driftless token --doc 'team/*=write' --sub ada --ttl 1h";
    let text = match has_public {
        true => format!(
            "private key  {private} (mode 0600: whoever has it can mint tokens)\n\
             public key   {public}\n\
             server:      driftless serve --auth-keys '{public}'\n\
             token:       {example} --auth-signing-key '{private}'\n"
        ),
        false => format!(
            "secret       {private} (mode 0600: whoever has it can mint tokens)\n\
             server:      DRIFTLESS_AUTH_SECRET=\"$(cat '{private}')\" driftless serve\n\
             token:       DRIFTLESS_AUTH_SECRET=\"$(cat '{private}')\" {example}\n"
        ),
    };
    files::print(text.as_bytes(), output)
}

fn beside(private: &Path) -> PathBuf {
    let mut name = private.file_name().unwrap_or_default().to_owned();
    name.push(".pub");
    private.with_file_name(name)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            EXIT_REFUSED,
            format!(
                "{shown} is there already; name another file with --out, keys are never overwritten"
            ),
        ),
        _ => Failure::new(EXIT_FAILED, format!("{shown} cannot be written: {error}")),
    }
}
