//! One file a scenario: what is loaded, what is counted, what is reported.

pub(crate) mod acks;
pub(crate) mod cluster;
pub(crate) mod cursors;
pub(crate) mod documents;
pub(crate) mod fanout;
pub(crate) mod faults;
pub(crate) mod flood;
pub(crate) mod idle;
pub(crate) mod kill9;
pub(crate) mod load;
pub(crate) mod storm;
