//! A fixed set of simulated networks; `cargo xtask simulate` runs more.

#![cfg(feature = "testing")]

use driftless_proto::testing::simulate;

/// Runs seeds and names the one that breaks a promise or panics.
fn run(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| simulate(seed, false));
        let problem = match outcome {
            Ok(Ok(_)) => continue,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("seed {seed} panicked"),
        };
        panic!("{problem}\nreplay: cargo xtask simulate --seed {seed} --trace");
    }
}

#[test]
fn the_first_hundred_networks_keep_every_promise() {
    run(0..100);
}

#[test]
fn the_second_hundred_networks_keep_every_promise() {
    run(100..200);
}

#[test]
fn the_third_hundred_networks_keep_every_promise() {
    run(200..300);
}

/// Networks that once broke a promise: a trimmed GC was refused as torn, offline deletes were
/// acknowledged before they arrived.
#[test]
fn networks_that_once_failed_keep_every_promise() {
    run([2_965, 6_412, 10_673, 24_052, 29_375, 45_503, 101_515]);
}

#[test]
fn a_seed_replays_to_the_letter() {
    let run = |seed| match simulate(seed, true) {
        Ok(report) => report.trace,
        Err(failure) => failure.trace,
    };
    for seed in [3, 14, 159] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
