//! Load: a long editing trace typed key by key, then fetched by fresh clients, warm and cold.

use crate::bench::{Bench, Deaf, RunError, TICK_NS};
use crate::cli::{Common, LoadTrace};
use crate::client::connection::{Ended, Replica};
use crate::client::coverage::Coverage;
use crate::client::messages::Message;
use crate::client::swarm::{ClientId, Listener};
use crate::client::timer::seconds_ns;
use crate::client::update::{for_each_deletion, for_each_run};
use crate::report::Report;
use crate::serve::Served;
use crate::trace::{Trace, parse, synthetic};

/// The writer's Yjs id; a small one, as in the state of 245 KB that published figures speak of.
const WRITER_ID: u64 = 1;
/// Fetches of one kind; the median is reported.
const REPEATS: usize = 5;
/// Between two steps, so that the connections closed are gone.
const PAUSE_SECONDS: f64 = 0.3;
const FETCH_PATIENCE_SECONDS: f64 = 60.0;
/// Without any progress for so long the typing has failed.
const TYPING_PATIENCE_SECONDS: f64 = 30.0;
/// A server that has not taken the whole text by then is too slow to be waited for.
const TYPING_SECONDS_MAX: f64 = 60.0;

/// Runs the scenario.
pub(crate) fn run(common: &Common, settings: &LoadTrace) -> Result<Report, RunError> {
    let mut bench = Bench::new(common)?;
    let trace = read_trace(settings)?;
    let mut served = match &settings.serve {
        Some(command) => Some(Served::start(command, &bench.target)?.0),
        None => {
            bench.target.probe(&bench.room("probe"))?;
            None
        }
    };
    if let Some(served) = &served {
        bench.server = Some(served.process());
    }
    let mut report = Report::new("load");
    let source = settings.trace.as_deref().unwrap_or("synthetic");
    report.add("trace", "trace", source, "");
    report.add("edits", "edits", trace.len(), "");
    let mut run = Run {
        bench,
        wanted: (trace.insertions, trace.deletions),
        state_bytes: 0,
    };
    run.type_all(&trace, settings.window, &mut report)?;
    let warm = run.median(1)?;
    report.add(
        "state_bytes",
        "the state as fetched",
        run.state_bytes,
        "bytes",
    );
    report.add_rounded("warm_ms", "fresh client, warm", (warm * 1e3, 2), "ms");
    let at_once = run.median(settings.joiners)?;
    let label = format!("{} fresh clients at once, the last", settings.joiners);
    report.add_rounded("joiners_ms", label, (at_once * 1e3, 2), "ms");
    if let (Some(command), Some(running)) = (&settings.serve, served.take()) {
        run.measure_cold(command, running, &mut report)?;
    }
    run.bench.progress.clear();
    Ok(report)
}

fn read_trace(settings: &LoadTrace) -> Result<Trace, RunError> {
    let keys = settings.keys.unwrap_or(usize::MAX);
    let Some(path) = &settings.trace else {
        let mut patches = synthetic();
        patches.truncate(keys);
        let trace = Trace::new(&patches, WRITER_ID);
        return trace.ok_or_else(|| RunError::Settings("the synthetic trace is broken".to_owned()));
    };
    let unreadable = || {
        RunError::Settings(format!(
            "{path} is no editing trace: give the unpacked automerge-paper.json of \
             github.com/josephg/editing-traces or editing-trace.js of automerge-perf"
        ))
    };
    let file = std::fs::read_to_string(path)?;
    let mut patches = parse(&file).ok_or_else(unreadable)?;
    patches.truncate(keys);
    Trace::new(&patches, WRITER_ID).ok_or_else(unreadable)
}

#[derive(Debug)]
struct Run {
    bench: Bench,
    /// Insertions and deletions of the whole trace.
    wanted: (u64, u64),
    state_bytes: usize,
}

impl Run {
    /// One writer, one reader, key by key, with so many keys under way.
    fn type_all(
        &mut self,
        trace: &Trace,
        window: usize,
        report: &mut Report,
    ) -> Result<(), RunError> {
        let room = self.bench.room("trace");
        let mut readers = Readers::new(2, WRITER_ID, self.wanted);
        let plan = vec![
            (room.clone(), Replica::default()),
            (room, Replica::default()),
        ];
        self.bench.join(plan.into_iter(), &mut readers)?;
        let begin = self.bench.usage();
        let (mut sent, mut progress_ns, mut seen) = (0, begin.at_ns, 0);
        while readers.texts[1].done_ns.is_none() {
            let arrived = readers.texts[1].count() as usize;
            let now_ns = self.bench.clock().now_ns();
            if arrived > seen {
                (seen, progress_ns) = (arrived, now_ns);
            }
            if now_ns > begin.at_ns + seconds_ns(TYPING_SECONDS_MAX) {
                return Err(RunError::Settings(format!(
                    "only {seen} of {} keys were typed within {TYPING_SECONDS_MAX} s",
                    trace.len()
                )));
            }
            if now_ns > progress_ns + seconds_ns(TYPING_PATIENCE_SECONDS) {
                let why = self.bench.swarm.first_end().map(ToString::to_string);
                let why = why.unwrap_or_else(|| "nothing more arrives".to_owned());
                return Err(RunError::Settings(format!(
                    "stuck after {seen} edits: {why}"
                )));
            }
            let to = trace.len().min(arrived + window.max(1));
            if to > sent {
                self.bench
                    .swarm
                    .write(0, trace.frames(sent, to), &mut readers);
                sent = to;
            }
            self.bench
                .progress
                .show(&format!("typed {sent} of {}", trace.len()));
            self.bench.swarm.turn(now_ns + TICK_NS, &mut readers)?;
        }
        let end = self.bench.usage();
        self.bench.swarm.clear();
        let rate = trace.len() as f64 / begin.seconds_to(&end);
        report.add("window", "keys under way", window, "");
        report.add_rounded(
            "edits_per_s",
            "key by key, 1 writer 1 reader",
            (rate, 0),
            "/s",
        );
        begin.report_generator(&end, report);
        Ok(())
    }

    /// Connects so many fresh clients at once; seconds until the last has the whole text.
    fn fetch(&mut self, clients: usize) -> Result<f64, RunError> {
        self.bench.settle(PAUSE_SECONDS, "pausing", &mut Deaf)?;
        let room = self.bench.room("trace");
        let mut readers = Readers::new(clients, WRITER_ID, self.wanted);
        let begun_ns = self.bench.clock().now_ns();
        for _ in 0..clients {
            let opening = self.bench.target.opening(&room);
            let address = self.bench.target.address;
            self.bench
                .swarm
                .connect(address, opening, Replica::default())?;
        }
        let deadline_ns = begun_ns + seconds_ns(FETCH_PATIENCE_SECONDS);
        while readers.done < clients {
            if self.bench.clock().now_ns() > deadline_ns {
                let why = format!("only {} of {clients} clients got the text", readers.done);
                return Err(RunError::Settings(why));
            }
            self.bench.swarm.turn(deadline_ns, &mut readers)?;
        }
        self.bench.swarm.clear();
        self.state_bytes = readers.whole.len();
        let last_ns = readers.texts.iter().filter_map(|text| text.done_ns).max();
        Ok(last_ns.unwrap_or(begun_ns).saturating_sub(begun_ns) as f64 / 1e9)
    }

    fn median(&mut self, clients: usize) -> Result<f64, RunError> {
        let mut seconds = Vec::with_capacity(REPEATS);
        for _ in 0..REPEATS {
            seconds.push(self.fetch(clients)?);
        }
        Ok(median(&mut seconds))
    }

    /// The first client after a start of the server.
    fn measure_cold(
        &mut self,
        command: &str,
        mut served: Served,
        report: &mut Report,
    ) -> Result<(), RunError> {
        let (mut opens, mut fetches) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            self.bench.progress.show("restarting the server");
            served.stop();
            let (next, seconds) = Served::start(command, &self.bench.target)?;
            served = next;
            opens.push(seconds);
            fetches.push(self.fetch(1)?);
        }
        let label = "start to open port";
        report.add_rounded("open_ms", label, (median(&mut opens) * 1e3, 1), "ms");
        let label = "first client after a start";
        report.add_rounded("cold_ms", label, (median(&mut fetches) * 1e3, 2), "ms");
        Ok(())
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Clients that gather the text.
#[derive(Debug)]
struct Readers {
    id: u64,
    wanted: (u64, u64),
    texts: Vec<Gathered>,
    done: usize,
    /// A message that was found to hold the whole text: the same bytes need no second look.
    whole: Vec<u8>,
}

/// What one client has.
#[derive(Debug, Clone)]
struct Gathered {
    inserted: u64,
    coverage: Coverage,
    deleted: u64,
    /// One flag per clock.
    is_deleted: Vec<bool>,
    done_ns: Option<u64>,
}

impl Gathered {
    fn count(&self) -> u64 {
        self.inserted + self.deleted
    }

    fn gather(&mut self, id: u64, update: &[u8]) {
        let inserted = &mut self.inserted;
        let coverage = &mut self.coverage;
        let rest = for_each_run(update, |run| {
            if run.client == id {
                coverage.add(run.start, run.length, |new| {
                    *inserted += new.end - new.start
                });
            }
        });
        let (is_deleted, deleted) = (&mut self.is_deleted, &mut self.deleted);
        // What cannot be read is not there, and the fetch fails for want of it.
        let _ = rest.and_then(|rest| {
            for_each_deletion(rest, |run| {
                let flags = is_deleted.iter_mut().skip(run.start as usize);
                for flag in flags.take(run.length as usize) {
                    *deleted += u64::from(!*flag);
                    *flag = true;
                }
            })
        });
    }
}

impl Readers {
    fn new(clients: usize, id: u64, wanted: (u64, u64)) -> Self {
        let empty = Gathered {
            inserted: 0,
            coverage: Coverage::default(),
            deleted: 0,
            is_deleted: vec![false; wanted.0 as usize],
            done_ns: None,
        };
        Self {
            id,
            wanted,
            texts: vec![empty; clients],
            done: 0,
            whole: Vec::new(),
        }
    }
}

impl Listener for Readers {
    fn message(&mut self, client: ClientId, message: Message<'_>, now_ns: u64) {
        let (Message::Update(update) | Message::Step2(update)) = message else {
            return;
        };
        let text = &mut self.texts[client];
        if text.done_ns.is_some() {
            return;
        }
        let is_known = !self.whole.is_empty() && update == self.whole;
        let was_empty = text.count() == 0;
        if !is_known {
            text.gather(self.id, update);
        }
        if is_known || (text.inserted, text.deleted) == self.wanted {
            text.done_ns = Some(now_ns);
            self.done += 1;
            if was_empty && self.whole.is_empty() {
                self.whole = update.to_vec();
            }
        }
    }

    fn ended(&mut self, _client: ClientId, _why: Ended) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::messages::for_each_message;
    use crate::client::websocket::read_header;

    /// The messages of masked frames, as a server reads them.
    fn updates(mut frames: &[u8]) -> Vec<Vec<u8>> {
        let mut updates = Vec::new();
        while !frames.is_empty() {
            let mut head = frames[..frames.len().min(14)].to_vec();
            head[1] &= 0x7f;
            let header = read_header(&head).unwrap().unwrap();
            let body = header.header_length + 4;
            let mask = &frames[header.header_length..body];
            let payload = &frames[body..body + header.payload_length];
            let plain: Vec<u8> = payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(b, k)| b ^ k)
                .collect();
            for_each_message(&plain, |message| match message {
                Message::Update(update) => updates.push(update.to_vec()),
                other => panic!("{other:?}"),
            })
            .unwrap();
            frames = &frames[body + header.payload_length..];
        }
        updates
    }

    #[test]
    fn a_reader_is_done_with_the_last_key_and_counts_repeats_once() {
        let patches = parse(r#"[[0,0,"a","b","c"],[1,1],[1,0,"d"]]"#).unwrap();
        let trace = Trace::new(&patches, 7).unwrap();
        let wanted = (trace.insertions, trace.deletions);
        assert_eq!(wanted, (4, 1));
        let mut readers = Readers::new(1, 7, wanted);
        let keys = updates(trace.frames(0, trace.len()));
        assert_eq!(keys.len(), 5);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(readers.done, 0);
            readers.message(0, Message::Update(key), 10);
            readers.message(0, Message::Update(key), 20);
            assert_eq!(readers.texts[0].count(), at as u64 + 1);
        }
        assert_eq!(readers.texts[0].done_ns, Some(10));
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
