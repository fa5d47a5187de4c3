//! Measures the embedded store: appends a second and commit latency, many documents, one writer.
//!
//! `cargo bench -p driftless --bench commit_rate [-- <folder> <documents> <batch> <seconds>]`

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driftless::store::data_folder::DataFolder;
use driftless::store::sqlite::SqliteStore;
use driftless::store::{Append, Origin, Store};
use driftless_proto::name::DocumentName;

type Failure = Box<dyn std::error::Error>;

/// A key stroke's update has about this many bytes.
const UPDATE_BYTES: usize = 30;

/// Linux counts processor time in hundredths of a second.
const MICROSECONDS_PER_TICK: f64 = 10_000.0;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).filter(|one| one != "--bench");
    let folder: Option<PathBuf> = arguments.next().map(PathBuf::from);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (documents, batch, seconds) = (number(1_000)?, number(0)?, number(5)?);
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let batches = if batch == 0 {
        vec![1, 16, 256, 1_000, 4_000]
    } else {
        vec![batch]
    };
    runtime.block_on(async {
        let store = SqliteStore::open(&DataFolder::open(&folder)?).await?;
        for batch in batches {
            measure(&store, documents, batch, Duration::from_secs(seconds)).await?;
        }
        store.close().await?;
        Ok(())
    })
}

async fn measure(
    store: &SqliteStore,
    documents: u64,
    batch_size: u64,
    period: Duration,
) -> Result<(), Failure> {
    let names: Vec<DocumentName> = (0..documents)
        .map(|number| DocumentName::new(&format!("team/{number}/page")))
        .collect::<Result<_, _>>()?;
    let (mut latencies, mut checkpoints, mut appended) = (Vec::new(), Vec::new(), 0u64);
    let (start, cpu_start) = (Instant::now(), cpu_ticks());
    while start.elapsed() < period {
        let batch: Vec<Append> = (0..batch_size)
            .map(|number| append(&names, appended + number))
            .collect();
        let begun = Instant::now();
        store.commit(&batch).await?;
        latencies.push(begun.elapsed());
        let begun = Instant::now();
        store.after_commit().await?;
        checkpoints.push(begun.elapsed());
        appended += batch_size;
    }
    let elapsed = start.elapsed();
    let cpu_us = (cpu_ticks() - cpu_start) as f64 * MICROSECONDS_PER_TICK / appended as f64;
    latencies.sort();
    checkpoints.sort();
    let at = |sorted: &[Duration], share: f64| sorted[(sorted.len() as f64 * share) as usize];
    writeln!(
        std::io::stdout(),
        "{documents} documents, batches of {batch_size:>5}: {:>8.0} appends/s, {cpu_us:.1} us CPU each; commit p50 {:?} \
         p99 {:?}; checkpoint longest {:?}",
        appended as f64 / elapsed.as_secs_f64(),
        at(&latencies, 0.5),
        at(&latencies, 0.99),
        at(&checkpoints, 0.9999),
    )?;
    Ok(())
}

/// Processor time of all threads so far, where the system tells it as Linux does; else 0.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let times = fields.skip(11).take(2);
    times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn append(names: &[DocumentName], number: u64) -> Append {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let time_ms = time.map_or(0, |time| time.as_millis() as u64);
    // Distinct over runs on one folder: the clock and the counter, spread over all bits.
    let mixed = (u128::from(time_ms) << 64 | u128::from(number))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Append {
        document: names[(mixed >> 40) as usize % names.len()].clone(),
        epoch: 1,
        id: mixed.to_le_bytes(),
        origin: Origin {
            identity: None,
            door: "ws 127.0.0.1:51234".to_owned(),
        },
        time_ms,
        update: Bytes::from(vec![number as u8; UPDATE_BYTES]),
        after: None,
        claims: Vec::new(),
    }
}
