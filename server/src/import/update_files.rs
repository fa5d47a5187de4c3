//! A folder of files, each with one Yjs v1 update: the way in for any server that can export.
//!
//! A file's name is the document's, percent-encoded, with or without `.update` behind it.

use std::path::{Path, PathBuf};

use super::folder::{Walk, read_file};
use super::{Source, SourceFuture, Survey, Updates};

/// What may stand behind the name.
const ENDING: &str = ".update";

/// A folder of updates.
#[derive(Debug)]
pub struct UpdateFiles(Walk);

impl UpdateFiles {
    /// Takes the folder's path; nothing is read yet.
    pub fn new(folder: &Path) -> Self {
        Self(Walk::new(folder, document_of))
    }
}

impl Source for UpdateFiles {
    fn survey(&mut self) -> SourceFuture<'_, Survey> {
        Box::pin(std::future::ready(self.0.count()))
    }

    fn next(&mut self) -> SourceFuture<'_, Option<String>> {
        Box::pin(std::future::ready(self.0.next()))
    }

    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates> {
        let file = &self.0.current;
        let read = match file.file_name().and_then(|name| name.to_str()) {
            Some(_) => read_file(file, bytes_max).map(|bytes| vec![bytes]),
            None => Err("the name of its file is not valid UTF-8".to_owned()),
        };
        Box::pin(std::future::ready(Ok(read)))
    }
}

/// The document that a file holds, percent-encoded; hidden files and folders hold none.
fn document_of(path: &Path) -> Option<(String, PathBuf)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.starts_with('.') || path.is_dir() {
        return None;
    }
    let name = name.strip_suffix(ENDING).unwrap_or(&name);
    Some((name.to_owned(), path.to_owned()))
}
