//! The gate for untrusted bytes: the only way from a peer's bytes to a replica.
//!
//! yrs trusts its input: a few hand-made bytes make it panic for ever, overflow the stack or read
//! freed memory. So every update passes [`admit`] first, which
//!
//! 1. scans it without allocating by the input's own counts (`scan`, `structs`, `content`),
//! 2. finds its largest part whose every need is met, in causal order (`order`),
//! 3. checks where each item would live (`places`), so that no item names a parent that is no
//!    type, ties two parents together or nests without end,
//! 4. cuts away what the replica has, joins what was typed in one go, and hands back the bytes to
//!    log, to apply and to relay (`write`, `join`).
//!
//! What yrs cannot hold is hidden from it behind the gate (`subdocuments`).
//!
//! What cannot be met is a [`Gap`], to be asked for again; what no honest peer sends is a
//! [`Refusal`], and leaves everything as it was.
//!
//! Not kept out, since no update tells it: neighbours that never were neighbours (where the item
//! lands then depends on the order of integration, in Yjs as in yrs), and text in a list that is
//! read as an array (`Array::to_json` and `Array::iter` of yrs 0.28.1 then never end, or panic:
//! whoever reads a document of foreign origin as JSON has to look at the kind of content first).

mod admit;
mod checks;
mod chunk;
mod content;
mod deletes;
mod identity;
mod join;
mod known;
mod legacy;
mod merge;
mod order;
mod places;
mod presence;
mod refusal;
mod scan;
mod structs;
mod subdocuments;
#[cfg(test)]
mod tests;
mod unordered;
mod vector;
mod write;

pub use admit::{
    Admission, Admitted, Advance, GAP_CLIENTS_MAX, Gap, Limits, Ranges, admit, admit_if, preview,
    ranges,
};
pub use chunk::{chunks, difference};
pub use deletes::DeleteSet;
pub use identity::sign_state;
pub use known::{Known, known_of};
pub use merge::merge;
pub use presence::{Entries, PresenceEntry, encode_entries, entries, is_valid_json};
pub use refusal::Refusal;
pub use subdocuments::{describe_subdocuments, hide_subdocuments, show_subdocuments};
pub use unordered::merge_unordered;
pub use vector::StateVector;

/// The number of clocks a client may use: JavaScript and yrs compute in signed 32 bits.
pub(crate) const CLOCK_MAX: u64 = 1 << 31;
