//! A folder whose entries are documents, and how its files are read.

use std::fs::{self, File, ReadDir};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{SourceError, Survey, too_large};

/// The document that an entry of a folder is: its name and its file.
type DocumentOf = fn(&Path) -> Option<(String, PathBuf)>;

/// A walk over the documents of a folder.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) folder: PathBuf,
    document_of: DocumentOf,
    entries: Option<ReadDir>,
    /// The file of the document that was given last.
    pub(super) current: PathBuf,
}

impl Walk {
    /// Takes the folder's path; nothing is read yet.
    pub(super) fn new(folder: &Path, document_of: DocumentOf) -> Self {
        Self {
            folder: folder.to_owned(),
            document_of,
            entries: None,
            current: PathBuf::new(),
        }
    }

    /// Counts the documents, without reading them.
    pub(super) fn count(&self) -> Result<Survey, SourceError> {
        let mut survey = Survey::default();
        for entry in open(&self.folder)? {
            let path = path_of(&self.folder, entry)?;
            if let Some((_, file)) = (self.document_of)(&path) {
                survey.documents += 1;
                survey.bytes += fs::metadata(file).map_or(0, |file| file.len());
            }
        }
        Ok(survey)
    }

    /// Goes on to the next document and gives its name.
    pub(super) fn next(&mut self) -> Result<Option<String>, SourceError> {
        if self.entries.is_none() {
            self.entries = Some(open(&self.folder)?);
        }
        for entry in self.entries.iter_mut().flatten() {
            let path = path_of(&self.folder, entry)?;
            if let Some((name, file)) = (self.document_of)(&path) {
                self.current = file;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

fn open(folder: &Path) -> Result<ReadDir, SourceError> {
    fs::read_dir(folder).map_err(|error| {
        let told = format!("{} cannot be listed: {error}", folder.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::NotFound(told),
            _ => SourceError::Unavailable(told),
        }
    })
}

fn path_of(folder: &Path, entry: io::Result<fs::DirEntry>) -> Result<PathBuf, SourceError> {
    let told = |error| format!("{} cannot be listed: {error}", folder.display());
    let entry = entry.map_err(|error| SourceError::Unavailable(told(error)))?;
    Ok(folder.join(entry.file_name()))
}

/// Reads a file whole, if it is not larger than `bytes_max`.
pub(super) fn read_file(path: &Path, bytes_max: usize) -> Result<Bytes, String> {
    let told = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if !metadata.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let length = metadata.len();
    if length > bytes_max as u64 {
        return Err(too_large(length, bytes_max));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let mut bounded = file.take(bytes_max as u64 + 1);
    bounded.read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() > bytes_max {
        return Err(too_large(bytes.len() as u64, bytes_max));
    }
    Ok(bytes.into())
}
