//! A LevelDB folder of y-leveldb, as the y-websocket server fills it by `YPERSISTENCE`.
//!
//! A key is a list of texts (0, then the length and UTF-8) and numbers (1, then 32 bits, big end first):
//! `["v1", name, "update", clock]` is an update of a document, `["v1", name, "meta", key]` an
//! application's own value, `["v1_sv", name]` a state vector. Reading a document means merging its
//! updates.
//!
//! Source: y-leveldb 0.2.0, `src/y-leveldb.js`; 0.1.2 has the same keys.

use std::path::Path;

use bytes::Bytes;

use super::leveldb::{Entries, Folder};
use super::{Source, SourceError, SourceFuture, Survey, Updates, too_large};

const TEXT: u8 = 0;
const NUMBER: u8 = 1;

/// A folder of y-leveldb.
pub struct YLeveldbFolder {
    folder: Folder,
    entries: Entries,
    current: Option<String>,
    /// An update that was read and not taken: the first of the current document, or, once that was
    /// read, of the one behind it.
    ahead: Option<(String, Bytes)>,
}

impl std::fmt::Debug for YLeveldbFolder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("YLeveldbFolder")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl YLeveldbFolder {
    /// Opens a folder that no process writes to.
    pub fn open(folder: &Path) -> Result<Self, SourceError> {
        let folder = Folder::open(folder)?;
        Ok(Self {
            entries: folder.entries(),
            folder,
            current: None,
            ahead: None,
        })
    }

    /// Reads everything once: what is damaged is found before anything is written.
    fn count(&self) -> Result<Survey, SourceError> {
        let mut survey = Survey::default();
        let mut others = 0_u64;
        let mut last = None;
        let mut entries = self.folder.entries();
        while let Some((key, value)) = self.folder.next(&mut entries)? {
            let Some(name) = document_of(&key) else {
                others += 1;
                continue;
            };
            survey.bytes += value.len() as u64;
            if last.as_ref() != Some(&name) {
                survey.documents += 1;
                last = Some(name);
            }
        }
        if survey.documents == 0 && others > 0 {
            return Err(SourceError::Refused(format!(
                "{} is a LevelDB folder, but not one of y-leveldb: none of its {others} keys names \
                 an update of a document",
                self.folder.path().display()
            )));
        }
        Ok(survey)
    }

    /// The next update of any document.
    fn next_update(&mut self) -> Result<Option<(String, Bytes)>, SourceError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        while let Some((key, value)) = self.folder.next(&mut self.entries)? {
            if let Some(name) = document_of(&key) {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    /// Goes on to the next document; what was not read of the current one is passed over.
    fn next_document(&mut self) -> Result<Option<String>, SourceError> {
        while let Some((name, value)) = self.next_update()? {
            if self.current.as_ref() != Some(&name) {
                self.current = Some(name.clone());
                self.ahead = Some((name.clone(), value));
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn read_current(&mut self, bytes_max: usize) -> Result<Updates, SourceError> {
        let mut updates = Vec::new();
        let mut bytes = 0;
        while let Some((name, value)) = self.next_update()? {
            if self.current.as_ref() != Some(&name) {
                self.ahead = Some((name, value));
                break;
            }
            bytes += value.len();
            if bytes <= bytes_max {
                updates.push(value);
            }
        }
        match bytes > bytes_max {
            true => Ok(Err(too_large(bytes as u64, bytes_max))),
            false => Ok(Ok(updates)),
        }
    }
}

impl Source for YLeveldbFolder {
    fn survey(&mut self) -> SourceFuture<'_, Survey> {
        Box::pin(std::future::ready(self.count()))
    }

    fn next(&mut self) -> SourceFuture<'_, Option<String>> {
        Box::pin(std::future::ready(self.next_document()))
    }

    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates> {
        Box::pin(std::future::ready(self.read_current(bytes_max)))
    }
}

/// The document that a key holds an update of.
fn document_of(key: &[u8]) -> Option<String> {
    let mut rest = key;
    if text(&mut rest)? != b"v1" {
        return None;
    }
    let name = text(&mut rest)?;
    if text(&mut rest)? != b"update" || rest.len() != 5 || rest[0] != NUMBER {
        return None;
    }
    String::from_utf8(name.to_vec()).ok()
}

/// The next part of a key, if it is a text.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&kind, mut tail) = rest.split_first()?;
    if kind != TEXT {
        return None;
    }
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let (&byte, more) = tail.split_first()?;
        tail = more;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let (text, more) = tail.split_at_checked(length)?;
            *rest = more;
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_of_updates_name_their_document() {
        let table: [(&[u8], Option<&str>); 9] = [
            (b"\0\x02v1\0\x01a\0\x06update\x01\0\0\0\x07", Some("a")),
            (b"\0\x02v1\0\0\0\x06update\x01\0\0\0\x07", Some("")),
            (b"\0\x02v1\0\x01a\0\x04meta\0\x01k", None),
            (b"\0\x05v1_sv\0\x01a", None),
            (b"\0\x02v1\0\x01a\0\x06update\x01\0\0\0", None),
            (b"\0\x02v1\0\x01\xff\0\x06update\x01\0\0\0\x07", None),
            (b"\0\xff\xff\xff\xff\xff", None),
            (b"\0\x7fv1", None),
            (b"", None),
        ];
        for (key, wanted) in table {
            assert_eq!(document_of(key).as_deref(), wanted, "{key:?}");
        }
    }
}
