//! Replays the corpus of every target, hostile vectors and contained panics included.
#![allow(clippy::unwrap_used)]

use driftless_fuzz::corpus;
use driftless_fuzz::report::Report;
use driftless_fuzz::support::random::Random;
use driftless_fuzz::targets::{TARGETS, target};

#[test]
fn stored_inputs_hold_all_properties() {
    for name in TARGETS {
        let folders = match name {
            "admission" => &["admission", "panics"][..],
            other => &[other][..],
        };
        for folder in folders {
            for (file, input) in corpus::load(folder).unwrap() {
                let mut report = Report::default();
                target(name, Vec::new(), 1)
                    .unwrap()
                    .replay(&input, &mut report);
                assert_eq!(report.violations, Vec::<String>::new(), "{folder}/{file}");
            }
        }
    }
}

#[test]
fn some_fresh_inputs_hold_all_properties() {
    for name in TARGETS {
        let corpus = corpus::load(name)
            .unwrap()
            .into_iter()
            .map(|(_, input)| input);
        let mut target = target(name, corpus.collect(), 7).unwrap();
        let mut random = Random::new(7);
        let mut report = Report::default();
        while report.inputs < 5_000 {
            target.step(&mut random, &mut report);
        }
        assert_eq!(report.violations, Vec::<String>::new(), "{name}, seed 7");
        assert!(
            report.admitted > 100,
            "{name}: mutations get through: {report}"
        );
    }
}

#[test]
fn deleted_subdocuments_are_admitted() {
    let table = [
        ("use-after-free-subdocument", 2),
        ("subdocuments-replaced-and-deleted", 3),
        ("subdocument-without-options", 0),
    ];
    let stored = corpus::load("admission").unwrap();
    for (name, admitted) in table {
        let (_, input) = stored.iter().find(|(file, _)| file == name).unwrap();
        let mut report = Report::default();
        let mut target = target("admission", Vec::new(), 1).unwrap();
        target.replay(input, &mut report);
        assert_eq!(report.admitted, admitted, "{name}: {report}");
        assert!(report.panics.is_empty(), "{name}: {report}");
    }
}
