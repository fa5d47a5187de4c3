//! A folder of y-sweet: `FOLDER/{document}/data.ysweet`, also as copied out of its S3 bucket.
//!
//! A file is a map of keys to values, written by bincode 1 (numbers of fixed size, little end first):
//! the number of entries, then each key and value with its length before it, all as 64 bits. The keys
//! are those of yrs-kvstore 0.3: `00 00 name 00` gives the number of a document (big end first), under
//! which `00 01 number 00` is its state and `00 01 number 02 clock 00` are updates behind that.
//!
//! Source: y-sweet 0.9.1, `crates/y-sweet-core/src/sync_kv.rs` and `doc_connection.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::folder::{Walk, read_file};
use super::{Source, SourceError, SourceFuture, Survey, Updates};

/// The file of each document.
const FILE_NAME: &str = "data.ysweet";

/// What the document of a file is called in it.
const DOCUMENT: &[u8] = b"doc";

/// Key spaces and parts of yrs-kvstore's keys.
const V1: u8 = 0;
const SPACE_NUMBERS: u8 = 0;
const SPACE_DOCUMENTS: u8 = 1;
const PART_STATE: u8 = 0;
const PART_UPDATE: u8 = 2;
const END: u8 = 0;

/// A folder of y-sweet.
#[derive(Debug)]
pub struct YSweetFolder(Walk);

impl YSweetFolder {
    /// Takes the folder's path; nothing is read yet.
    pub fn new(folder: &Path) -> Self {
        Self(Walk::new(folder, document_of))
    }

    fn count(&self) -> Result<Survey, SourceError> {
        let survey = self.0.count()?;
        let folder = &self.0.folder;
        if survey.documents == 0 && folder.join(FILE_NAME).exists() {
            return Err(SourceError::Refused(format!(
                "{} is the folder of one document; give the one above it",
                folder.display()
            )));
        }
        Ok(survey)
    }
}

impl Source for YSweetFolder {
    fn survey(&mut self) -> SourceFuture<'_, Survey> {
        Box::pin(std::future::ready(self.count()))
    }

    fn next(&mut self) -> SourceFuture<'_, Option<String>> {
        Box::pin(std::future::ready(self.0.next()))
    }

    fn read(&mut self, bytes_max: usize) -> SourceFuture<'_, Updates> {
        let read = read_file(&self.0.current, bytes_max).and_then(|file| {
            decode(&file).map_err(|reason| format!("{FILE_NAME} is damaged: {reason}"))
        });
        Box::pin(std::future::ready(Ok(read)))
    }
}

/// The name of a document and its file, if this folder is one.
fn document_of(folder: &Path) -> Option<(String, PathBuf)> {
    let file = folder.join(FILE_NAME);
    let name = folder.file_name()?.to_string_lossy().into_owned();
    file.is_file().then_some((name, file))
}

/// The updates of the document in a file: its state, and what came behind it. None for a document that
/// was created and never written.
pub(super) fn decode(file: &Bytes) -> Result<Vec<Bytes>, String> {
    let entries = entries(file)?;
    let name_key = [&[V1, SPACE_NUMBERS], DOCUMENT, &[END]].concat();
    let Some(number) = entries.get(&Bytes::from(name_key)) else {
        return match entries.is_empty() {
            true => Ok(Vec::new()),
            false => Err("it holds no document `doc`".to_owned()),
        };
    };
    if number.len() != 4 {
        return Err("the document's number is not of four bytes".to_owned());
    }
    let part = |part: u8| [&[V1, SPACE_DOCUMENTS], &number[..], &[part]].concat();
    let state = entries.get(&Bytes::from(part(PART_STATE)));
    let prefix = part(PART_UPDATE);
    let from = Bytes::from(prefix.clone());
    let updates = entries.range(from..).map_while(|(key, value)| {
        let is_update = key.starts_with(&prefix) && key.len() == prefix.len() + 5;
        is_update.then_some(value)
    });
    Ok(state.into_iter().chain(updates).cloned().collect())
}

/// Reads the map; nothing is allocated by the file's own counts.
fn entries(file: &Bytes) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let mut rest = file.clone();
    let count = number(&mut rest)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let key = text(&mut rest)?;
        let value = text(&mut rest)?;
        if entries.insert(key, value).is_some() {
            return Err("a key is there twice".to_owned());
        }
    }
    match rest.len() {
        0 => Ok(entries),
        more => Err(format!("{more} bytes stand behind its end")),
    }
}

fn number(rest: &mut Bytes) -> Result<u64, String> {
    let digits = rest.first_chunk::<8>().copied();
    let digits = digits.ok_or("it ends too early")?;
    *rest = rest.slice(8..);
    Ok(u64::from_le_bytes(digits))
}

fn text(rest: &mut Bytes) -> Result<Bytes, String> {
    let length = usize::try_from(number(rest)?).ok();
    match length.filter(|length| *length <= rest.len()) {
        Some(length) => Ok(rest.split_to(length)),
        None => Err("it ends too early".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut file = (entries.len() as u64).to_le_bytes().to_vec();
        for (key, value) in entries {
            for text in [key, value] {
                file.extend((text.len() as u64).to_le_bytes());
                file.extend_from_slice(text);
            }
        }
        file
    }

    const NAME: &[u8] = b"\0\0doc\0";
    const ONE: &[u8] = &[0, 0, 0, 1];

    #[test]
    fn the_state_comes_first_and_updates_in_their_order() {
        let file = map(&[
            (b"\0\x01\0\0\0\x01\x02\0\0\0\x02\0", b"second"),
            (b"\0\x01\0\0\0\x01\x02\0\0\0\x01\0", b"first"),
            (b"\0\x01\0\0\0\x01\0", b"state"),
            (b"\0\x01\0\0\0\x01\x01", b"vector"),
            (b"\0\x01\0\0\0\x01\x03meta\0", b"meta"),
            (b"\0\x01\0\0\0\x02\0", b"of another document"),
            (NAME, ONE),
        ]);
        let updates = decode(&file.into()).unwrap();
        assert_eq!(updates, ["state", "first", "second"]);
        assert_eq!(decode(&map(&[]).into()).unwrap().len(), 0);
        assert_eq!(decode(&map(&[(NAME, ONE)]).into()).unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_such_map_is_told_and_allocates_nothing() {
        let good = map(&[(NAME, ONE), (b"\0\x01\0\0\0\x01\0", b"state")]);
        for length in 0..good.len() {
            let cut = good[..length].to_vec();
            assert!(decode(&cut.into()).is_err(), "cut at {length}");
        }
        let huge = u64::MAX.to_le_bytes();
        let table: [(Vec<u8>, &str); 7] = [
            (huge.to_vec(), "ends too early"),
            ([1_u64.to_le_bytes(), huge].concat(), "ends too early"),
            ([&good[..], b"more"].concat(), "4 bytes stand behind"),
            (map(&[(NAME, ONE), (NAME, ONE)]), "twice"),
            (map(&[(NAME, b"1")]), "four bytes"),
            (map(&[(NAME, b"")]), "four bytes"),
            (map(&[(b"other", b"")]), "no document"),
        ];
        for (file, wanted) in table {
            let told = decode(&file.into()).unwrap_err();
            assert!(told.contains(wanted), "{told}");
        }
    }
}
