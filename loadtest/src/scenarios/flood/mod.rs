//! Floods: what peers without manners, or without a token, can do to a server, all at once. This
//! scenario only makes trouble; another one beside it measures what everybody else feels of it.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, RunError};
use crate::cli::{Common, Dialect, Flood};
use crate::client::target::Target;
use crate::report::Report;

mod floods;
mod socket;
mod sockets;

use floods::{drip, join, keep_silent, move_cursors};
use sockets::Counts;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &Flood) -> Result<Report, RunError> {
    if settings.rooms == 0 {
        let why = "--rooms must be one or more; --moves 0 leaves cursors out".to_owned();
        return Err(RunError::Settings(why));
    }
    let bench = Bench::with_live_server(common)?;
    let strangers = settings
        .strangers
        .clone()
        .unwrap_or_else(|| format!("ws://{}/hocuspocus", bench.target.address));
    let strangers = Target::parse(&strangers, Dialect::Hocuspocus)?;
    let rooms: Vec<String> = (0..settings.rooms).map(|at| bench.room(at)).collect();
    let until = Instant::now() + Duration::from_secs_f64(settings.seconds);
    let (target, first_id) = (&bench.target, bench.first_id);
    let (silent, dripping, joins, moves) = thread::scope(|scope| {
        let silent = scope.spawn(|| keep_silent(&strangers, settings.silent, until));
        let dripping = scope.spawn(|| drip(&strangers, settings.dripping, until));
        let joins = scope.spawn(|| join(target, &strangers, settings.joins, until));
        let moves = scope.spawn(|| move_cursors(target, &rooms, first_id, settings.moves, until));
        (
            silent.join().unwrap_or_default(),
            dripping.join().unwrap_or_default(),
            joins.join().unwrap_or_default(),
            moves.join().unwrap_or_default(),
        )
    });
    let mut report = Report::new("flood");
    report.add_rounded("seconds", "lasted", (settings.seconds, 1), "s");
    let keys: [(&str, [&'static str; 3], Counts); 4] = [
        (
            "sockets without a word",
            ["silent_done", "silent_refused", "silent_ended"],
            silent,
        ),
        (
            "sockets that drip",
            ["dripping_done", "dripping_refused", "dripping_ended"],
            dripping,
        ),
        (
            "joins",
            ["joins_done", "joins_refused", "joins_ended"],
            joins,
        ),
        (
            "moves of cursors written out",
            ["moves_done", "moves_refused", "moves_ended"],
            moves,
        ),
    ];
    for (label, [done, refused, ended], counts) in keys {
        report.add(done, label, counts.done, "");
        report.add(refused, "  not let in", counts.refused, "");
        report.add(ended, "  ended by the server", counts.ended, "");
    }
    Ok(report)
}
