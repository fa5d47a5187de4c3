//! A folder of files, each with one Yjs v1 update: the way in for any server that can export.
//!
//! A file's name is the document's, percent-encoded, with or without `.update` behind it.

use std::ffi::OsString;
use std::fs::{self, File, ReadDir};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Source, SourceError, SourceFuture, Survey, Updates, too_large};

/// What may stand behind the name.
const ENDING: &str = ".update";

/// A folder of updates.
#[derive(Debug)]
pub struct UpdateFiles {
    folder: PathBuf,
    entries: Option<ReadDir>,
    current: PathBuf,
}

impl UpdateFiles {
    /// Takes the folder's path; nothing is read yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            entries: None,
            current: PathBuf::new(),
        }
    }

    fn count(&self) -> Result<Survey, SourceError> {
        let mut survey = Survey::default();
        for entry in open_folder(&self.folder)? {
            let path = read_entry(&self.folder, entry)?;
            if document_of(&path).is_some() {
                survey.documents += 1;
                survey.bytes += fs::metadata(&path).map_or(0, |file| file.len());
            }
        }
        Ok(survey)
    }

    fn next_file(&mut self) -> Result<Option<String>, SourceError> {
        if self.entries.is_none() {
            self.entries = Some(open_folder(&self.folder)?);
        }
        for entry in self.entries.iter_mut().flatten() {
            let path = read_entry(&self.folder, entry)?;
            if let Some(name) = document_of(&path) {
                self.current = path;
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

impl Source for UpdateFiles {
    fn survey(&mut self) -> SourceFuture<'_, Survey> {
        Box::pin(std::future::ready(self.count()))
    }

    fn next(&mut self) -> SourceFuture<'_, Option<String>> {
        Box::pin(std::future::ready(self.next_file()))
    }

    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates> {
        let read = match self.current.file_name().and_then(|name| name.to_str()) {
            Some(_) => read_file(&self.current, bytes_max).map(|bytes| vec![bytes]),
            None => Err("the name of its file is not valid UTF-8".to_owned()),
        };
        Box::pin(std::future::ready(Ok(read)))
    }
}

/// The document that a file holds, percent-encoded; hidden files and folders hold none.
fn document_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.starts_with('.') || path.is_dir() {
        return None;
    }
    let name = name.strip_suffix(ENDING).unwrap_or(&name);
    Some(name.to_owned())
}

/// Lists a folder of a source.
pub(super) fn open_folder(folder: &Path) -> Result<ReadDir, SourceError> {
    fs::read_dir(folder).map_err(|error| {
        let told = format!("{} cannot be listed: {error}", folder.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::NotFound(told),
            _ => SourceError::Unavailable(told),
        }
    })
}

/// The path of what stands in a folder.
pub(super) fn read_entry(
    folder: &Path,
    entry: io::Result<fs::DirEntry>,
) -> Result<PathBuf, SourceError> {
    let told = |error| format!("{} cannot be listed: {error}", folder.display());
    let name: OsString = entry
        .map_err(|error| SourceError::Unavailable(told(error)))?
        .file_name();
    Ok(folder.join(name))
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
