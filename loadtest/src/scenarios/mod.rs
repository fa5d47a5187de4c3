//! One file a scenario: what is loaded, what is counted, what is reported.

pub(crate) mod fanout;
