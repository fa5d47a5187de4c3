//! Access that is taken back: restrictions on what was granted, on all nodes, also for live sessions.
//!
//! ```text
//!  operator ─▶ store ─▶ Keeper ─┬▶ Restrictions ─▶ doors: every grant
//!                ▲              ├▶ registry ─▶ live sessions: what was granted, looked at again
//!                │              └▶ bus ─▶ keepers of other nodes
//!                └──────────────────────────┘ read it; what the bus lost is found by a poll
//! ```
//!
//! Who grants is [`crate::auth`]; nothing here makes anybody's rights larger than that.

mod keeper;
mod restriction;
mod selection;
mod set;

pub use keeper::{Keeper, KeeperOptions, Reach};
pub use restriction::{REASON_BYTES_MAX, RESTRICTIONS_MAX, Restriction, RestrictionError};
pub use selection::{PATTERN_BYTES_MAX, Selection, SelectionError, Visitor};
pub use set::{RestrictionSet, Restrictions};
