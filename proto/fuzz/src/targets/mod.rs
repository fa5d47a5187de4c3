//! The targets: what is done with each input, and which properties have to hold.

pub mod admission;
pub mod contain;
pub mod decoders;
pub mod view;

use bytes::Bytes;

use crate::report::Report;
use crate::support::random::Random;

/// The names of all targets, as on the command line and in the corpus.
pub const TARGETS: [&str; 6] = [
    "admission",
    "ywebsocket",
    "hocuspocus",
    "state_vector",
    "presence",
    "name",
];

/// A decoder under test.
pub trait Target {
    /// Makes one input, runs it and counts; may stand for several inputs.
    fn step(&mut self, random: &mut Random, report: &mut Report);

    /// Runs one stored input and counts.
    fn replay(&mut self, input: &Bytes, report: &mut Report);
}

/// The target of this name, with the corpus it starts from.
pub fn target(name: &str, corpus: Vec<Bytes>, seed: u64) -> Option<Box<dyn Target>> {
    Some(match name {
        "admission" => Box::new(admission::AdmissionTarget::new(corpus, seed)),
        "ywebsocket" => Box::new(decoders::BytesTarget::new(corpus, decoders::ywebsocket)),
        "hocuspocus" => Box::new(decoders::BytesTarget::new(corpus, decoders::hocuspocus)),
        "state_vector" => Box::new(decoders::BytesTarget::new(corpus, decoders::state_vector)),
        "presence" => Box::new(decoders::BytesTarget::new(corpus, decoders::presence)),
        "name" => Box::new(decoders::BytesTarget::new(corpus, decoders::name)),
        _ => return None,
    })
}
