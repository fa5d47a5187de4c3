//! Checksums of stored rows (CRC-32C), over everything that gives a row its meaning.
//!
//! Document, epoch and sequence are part of the sum, so that an intact row in the wrong place is
//! as visible as a flipped bit.

use driftless_proto::name::DocumentName;

use super::{AppendId, Origin};

/// An append in its place in a document's log: all that its checksum covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct AppendRow<'a> {
    /// Whose log it is in.
    pub(super) document: &'a DocumentName,
    /// The generation of history.
    pub(super) epoch: u64,
    /// Its place in the log.
    pub(super) sequence: u64,
    /// Its random id.
    pub(super) id: &'a AppendId,
    /// Whose change it is.
    pub(super) origin: &'a Origin,
    /// Wall-clock time of the change, milliseconds since 1970.
    pub(super) time_ms: u64,
    /// The Yjs v1 update.
    pub(super) update: &'a [u8],
}

impl AppendRow<'_> {
    /// The checksum over every field.
    pub(super) fn checksum(&self) -> u32 {
        let identity = self.origin.identity.as_deref();
        Checksum::start(self.document, self.epoch, self.sequence)
            .part(self.id)
            .part(&self.time_ms.to_le_bytes())
            .part(&[u8::from(identity.is_some())])
            .part(identity.unwrap_or_default().as_bytes())
            .part(self.origin.door.as_bytes())
            .part(self.update)
            .0
    }
}

/// The checksum of a snapshot's state up to `sequence`.
pub(super) fn snapshot_checksum(
    document: &DocumentName,
    epoch: u64,
    sequence: u64,
    state: &[u8],
) -> u32 {
    Checksum::start(document, epoch, sequence).part(state).0
}

/// A running sum whose parts are length-prefixed, so that bytes cannot move between fields.
struct Checksum(u32);

impl Checksum {
    fn start(document: &DocumentName, epoch: u64, sequence: u64) -> Self {
        Self(0)
            .part(document.as_str().as_bytes())
            .part(&epoch.to_le_bytes())
            .part(&sequence.to_le_bytes())
    }

    fn part(self, bytes: &[u8]) -> Self {
        let length = crc32c::crc32c_append(self.0, &(bytes.len() as u64).to_le_bytes());
        Self(crc32c::crc32c_append(length, bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn origin(identity: Option<&str>, door: &str) -> Origin {
        Origin {
            identity: identity.map(str::to_owned),
            door: door.to_owned(),
        }
    }

    #[test]
    fn every_field_of_an_append_counts() {
        let (document, other_document) = (
            DocumentName::new("a").unwrap(),
            DocumentName::new("b").unwrap(),
        );
        let (ann, nobody, other_door) = (
            origin(Some("ann"), "ws"),
            origin(None, "ws"),
            origin(Some("ann"), "wt"),
        );
        let row = AppendRow {
            document: &document,
            epoch: 1,
            sequence: 1,
            id: &[1; 16],
            origin: &ann,
            time_ms: 5,
            update: b"update",
        };
        let mut changed = [row; 8];
        changed[0].document = &other_document;
        changed[1].epoch = 2;
        changed[2].sequence = 2;
        changed[3].id = &[2; 16];
        changed[4].origin = &nobody;
        changed[5].origin = &other_door;
        changed[6].time_ms = 6;
        changed[7].update = b"updatf";
        for other in &changed {
            assert_ne!(other.checksum(), row.checksum(), "{other:?}");
        }
    }

    #[test]
    fn bytes_do_not_move_between_fields() {
        let document = DocumentName::new("a").unwrap();
        let sum = |identity: &str, door: &str| {
            AppendRow {
                document: &document,
                epoch: 1,
                sequence: 1,
                id: &[0; 16],
                origin: &origin(Some(identity), door),
                time_ms: 0,
                update: b"",
            }
            .checksum()
        };
        assert_ne!(sum("ab", "c"), sum("a", "bc"));
    }
}
