//! The yrs document behind a wall: panics are caught, and a document that panicked is never
//! touched again.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use yrs::updates::decoder::Decode;
use yrs::{ClientID, Doc, OffsetKind, Options, ReadTxn, Transact, Update};

use crate::admission::{Advance, StateVector, hide_subdocuments, show_subdocuments};

/// The document failed and is gone; a new one has to be built from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document failed while it was read or changed")]
pub(super) struct Failed;

/// A yrs document that takes in admitted updates only.
pub(super) struct Crdt {
    /// `None` after a failure.
    doc: Option<Doc>,
    /// Subdocuments were hidden in it.
    hides: bool,
}

impl std::fmt::Debug for Crdt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Crdt")
            .field("alive", &self.doc.is_some())
            .finish()
    }
}

impl Crdt {
    /// An empty document. It never edits by itself, so its own client id plays no part.
    pub(super) fn new() -> Self {
        let mut options = Options::with_client_id(ClientID::new(0));
        options.offset_kind = OffsetKind::Utf16;
        // Cleaning up formats would be an edit that no peer made and no log holds.
        options.cleanup_formatting = false;
        Self {
            doc: Some(Doc::with_options(options)),
            hides: false,
        }
    }

    /// Fails from now on, as after a panic inside yrs.
    #[cfg(test)]
    pub(super) fn break_down(&mut self) {
        self.doc = None;
    }

    /// Applies an admitted update in one transaction and checks that all of it arrived. `hide`:
    /// it has subdocuments.
    pub(super) fn apply(
        &mut self,
        update: &Bytes,
        advances: &[Advance],
        hide: bool,
    ) -> Result<(), Failed> {
        let doc = self.doc.take().ok_or(Failed)?;
        let mut update = update.clone();
        if hide {
            update = hide_subdocuments(&update).map_err(|_| Failed)?;
            self.hides = true;
        }
        let applied = catch_unwind(AssertUnwindSafe(|| apply(&doc, &update, advances)));
        match applied {
            Ok(true) => {
                self.doc = Some(doc);
                Ok(())
            }
            Ok(false) | Err(_) => {
                // Its destructors would walk the half-changed store.
                std::mem::forget(doc);
                Err(Failed)
            }
        }
    }

    /// The state beyond `from` as one v1 update, with all deletes.
    pub(super) fn encode(&mut self, from: &StateVector) -> Result<Bytes, Failed> {
        let doc = self.doc.take().ok_or(Failed)?;
        let encoded = catch_unwind(AssertUnwindSafe(|| {
            let from = from
                .iter()
                .map(|(client, clock)| (ClientID::new(client), clock))
                .collect();
            doc.transact().encode_diff_v1(&from)
        }));
        match encoded {
            Ok(bytes) => {
                self.doc = Some(doc);
                let state = Bytes::from(bytes);
                if self.hides {
                    return show_subdocuments(&state).map_err(|_| Failed);
                }
                Ok(state)
            }
            Err(_) => {
                std::mem::forget(doc);
                Err(Failed)
            }
        }
    }
}

/// Applies and commits; false when yrs refused a part or kept one back.
fn apply(doc: &Doc, update: &[u8], advances: &[Advance]) -> bool {
    let Ok(update) = Update::decode_v1(update) else {
        return false;
    };
    // A transaction that is dropped while unwinding commits, and a second panic would abort the
    // process: it is dropped by hand, on the good path only.
    let mut transaction = ManuallyDrop::new(doc.transact_mut());
    if transaction.apply_update(update).is_err() || transaction.has_missing_updates() {
        return false;
    }
    let inserted = transaction.insert_set();
    let complete = advances.iter().all(|advance| {
        let last = yrs::ID::new(ClientID::new(advance.client), advance.to - 1);
        inserted.contains(&last)
    });
    transaction.commit();
    drop(ManuallyDrop::into_inner(transaction));
    complete
}
