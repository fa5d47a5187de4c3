//! Plays sequences, several at a time, and tells what did not hold.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use driftless::auth::Right;

use crate::dialect::Dialect;
use crate::draw::Drawer;
use crate::house::{House, resident_mb, take_panics};
use crate::ledger::Ledger;
use crate::stage::Stage;
use crate::step::Step;
use crate::verdict;

/// Sequences a dialect within the usual tests.
const SEQUENCES: u64 = 200;
/// Sequences at a time: what one waits for, another one works in.
const LANES: u64 = 6;
/// Sequences before memory is measured: threads, caches and pools have then grown.
const WARM: u64 = 150;
/// What memory may grow by over all that follow.
const GROWTH_MB_MAX: u64 = 200;
/// Sequences between two looks at counters.
const LOOK_EVERY: u64 = 50;
/// For all that is left to go when everybody has left.
const EMPTY_WITHIN: Duration = Duration::from_secs(20);
/// How often a shorter sequence is tried before it counts as harmless: timing differs.
const TRIES: usize = 3;

/// What a run is told by the environment.
struct Plan {
    sequences: u64,
    seed: u64,
    lanes: u64,
    dialects: Vec<Dialect>,
}

/// A sequence that showed a fault.
struct Failure {
    dialect: Dialect,
    seed: u64,
    is_mutated: bool,
    problem: String,
    steps: Vec<Step>,
}

fn number(name: &str, preset: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(preset, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

impl Plan {
    fn read() -> Self {
        let wanted = std::env::var("FUZZ_DIALECT").ok();
        let is_wanted =
            |dialect: &Dialect| wanted.as_ref().is_none_or(|name| name == dialect.name());
        Self {
            sequences: number("FUZZ_SEQUENCES", SEQUENCES),
            seed: number("FUZZ_SEED", 1),
            lanes: number("FUZZ_LANES", LANES).max(1),
            dialects: Dialect::ALL.into_iter().filter(is_wanted).collect(),
        }
    }
}

/// Runs with a server, and with no other test that has one: counters and panics are the process's.
pub(crate) fn in_system<T>(run: impl Future<Output = T>) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What another test has failed with is told there.
    take_panics();
    actix_rt::System::new().block_on(run)
}

/// Draws and plays one sequence; its steps, and what did not hold. Of the rights that tokens are worth,
/// no more than `believed` is believed.
async fn draw(
    house: &House,
    ledger: &Rc<RefCell<Ledger>>,
    (dialect, seed): (Dialect, u64),
    believed: Right,
) -> Result<(), Failure> {
    let mut steps = Vec::new();
    let mut is_mutated = false;
    let mut run = async || -> Result<(), String> {
        let mut stage = Stage::set(house, ledger, dialect, seed).await?;
        let mut drawer = Drawer::new(dialect, seed, &stage.names);
        is_mutated = drawer.is_mutated;
        while drawer.left > 0 {
            for mut step in drawer.next(&mut stage)? {
                step.believe(believed);
                steps.push(step.clone());
                stage.play(&step).await?;
            }
        }
        let rest = Step::Listen { ms: 3 };
        stage.play(&rest).await?;
        verdict::check(&mut stage, is_mutated).await
    };
    let outcome = run().await;
    outcome.map_err(|problem| Failure {
        dialect,
        seed,
        is_mutated,
        problem,
        steps,
    })
}

/// Plays steps that were drawn before, against a server of their own.
pub(crate) fn replay(
    dialect: Dialect,
    seed: u64,
    is_mutated: bool,
    steps: &[Step],
) -> Result<(), String> {
    in_system(async {
        let house = House::open().await;
        let ledger = Rc::default();
        let mut stage = Stage::set(&house, &ledger, dialect, seed).await?;
        for step in steps {
            stage.play(step).await?;
        }
        stage.play(&Step::Listen { ms: 3 }).await?;
        verdict::check(&mut stage, is_mutated).await?;
        let troubles = house.troubles();
        match troubles.is_empty() {
            true => Ok(()),
            false => Err(troubles.join(", ")),
        }
    })
}

/// All sequences of one dialect, until one fails; how many were begun.
async fn play(house: &Rc<House>, plan: &Plan, dialect: Dialect) -> (u64, Vec<Failure>) {
    let ledger = Rc::<RefCell<Ledger>>::default();
    let next = Rc::new(Cell::new(0));
    let failures = Rc::<RefCell<Vec<Failure>>>::default();
    let (sequences, first) = (plan.sequences, plan.seed);
    let lanes: Vec<_> = (0..plan.lanes)
        .map(|_| {
            let (house, ledger) = (house.clone(), ledger.clone());
            let (next, failures) = (next.clone(), failures.clone());
            tokio::task::spawn_local(async move {
                while next.get() < sequences && failures.borrow().is_empty() {
                    let index = next.replace(next.get() + 1);
                    let seed = first.wrapping_add(index);
                    if let Err(failure) = draw(&house, &ledger, (dialect, seed), Right::Admin).await
                    {
                        failures.borrow_mut().push(failure);
                    }
                    let troubles = match index % LOOK_EVERY {
                        0 => house.troubles(),
                        _ => Vec::new(),
                    };
                    if !troubles.is_empty() {
                        eprintln!(
                            "near {} seed {seed}: {}",
                            dialect.name(),
                            troubles.join(", ")
                        );
                        return;
                    }
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    (next.get(), failures.take())
}

/// Everything that waits has to go once everybody has left.
async fn empty(house: &House) -> Vec<String> {
    let by = Instant::now() + EMPTY_WITHIN;
    loop {
        let left = house.left();
        if left.is_empty() || Instant::now() > by {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Leaves a failed sequence in a file.
fn store(failure: &Failure) -> PathBuf {
    let name = format!("{}-{}.steps", failure.dialect.name(), failure.seed);
    let path = folder().join(name);
    let mut text = format!(
        "{} {} {}\n",
        failure.dialect.name(),
        failure.seed,
        failure.is_mutated
    );
    for step in &failure.steps {
        text += &step.line();
        text.push('\n');
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// A stored sequence: dialect, seed, whether it was mutated, and its steps.
pub(crate) fn load(text: &str) -> (Dialect, u64, bool, Vec<Step>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let head: Vec<_> = lines.next().unwrap().split(' ').collect();
    let mut dialects = Dialect::ALL.into_iter();
    let dialect = dialects.find(|dialect| dialect.name() == head[0]).unwrap();
    let steps = lines.map(|line| Step::read(line).unwrap_or_else(|| panic!("{line}")));
    (
        dialect,
        head[1].parse().unwrap(),
        head[2] == "true",
        steps.collect(),
    )
}

/// Plays a stored sequence, and leaves out what its fault does not need.
fn shorten(path: &Path) {
    let (dialect, seed, is_mutated, mut steps) = load(&std::fs::read_to_string(path).unwrap());
    let fails =
        |steps: &[Step]| (0..TRIES).find_map(|_| replay(dialect, seed, is_mutated, steps).err());
    let Some(mut problem) = fails(&steps) else {
        println!("the stored sequence shows no fault");
        return;
    };
    let mut width = steps.len().div_ceil(2);
    while width > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + width).min(steps.len()));
            match fails(&fewer) {
                Some(other) => (steps, problem) = (fewer, other),
                None => at += width,
            }
        }
        width = if width == 1 { 0 } else { width.div_ceil(2) };
    }
    let failure = Failure {
        dialect,
        seed,
        is_mutated,
        problem,
        steps,
    };
    let path = store(&failure);
    panic!(
        "{}\n{} steps are left in {}",
        failure.problem,
        failure.steps.len(),
        path.display()
    );
}

#[test]
fn random_frame_sequences_break_nothing() {
    if let Ok(path) = std::env::var("FUZZ_REPLAY") {
        return shorten(Path::new(&path));
    }
    let plan = Plan::read();
    in_system(async {
        let house = Rc::new(House::open().await);
        let warm = Plan {
            sequences: WARM.min(plan.sequences),
            seed: plan.seed.wrapping_add(1 << 40),
            lanes: plan.lanes,
            dialects: Vec::new(),
        };
        let mut failures = Vec::new();
        for dialect in &plan.dialects {
            failures.extend(play(&house, &warm, *dialect).await.1);
        }
        let before_mb = resident_mb();
        for dialect in &plan.dialects {
            let start = Instant::now();
            let (played, failed) = play(&house, &plan, *dialect).await;
            failures.extend(failed);
            println!(
                "{}: {played} sequences from seed {} in {:.1} s, {} MB; {}",
                dialect.name(),
                plan.seed,
                start.elapsed().as_secs_f64(),
                resident_mb(),
                house.reach()
            );
        }
        let left = empty(&house).await;
        let grown_mb = resident_mb().saturating_sub(before_mb);
        for failure in &failures {
            let path = store(failure);
            eprintln!(
                "{} seed {}: {}\n  FUZZ_REPLAY={} plays it again",
                failure.dialect.name(),
                failure.seed,
                failure.problem,
                path.display()
            );
        }
        assert!(failures.is_empty(), "{}", failures[0].problem);
        assert_eq!(house.troubles(), Vec::<String>::new());
        assert_eq!(left, Vec::<String>::new(), "is left");
        assert!(grown_mb < GROWTH_MB_MAX, "memory grew by {grown_mb} MB");
        println!("memory grew by {grown_mb} MB over the run");
    });
}

/// The same sequences, by somebody who believes tokens less than the server: what the server then shows
/// and takes in is too much, and has to be found out.
#[test]
fn one_right_too_many_is_found_out() {
    let table = [(Right::None, "LEAK"), (Right::Read, "FORGED")];
    for dialect in Dialect::ALL {
        for (believed, wanted) in table {
            in_system(async {
                let house = House::open().await;
                let ledger = Rc::default();
                for seed in 0..SEQUENCES {
                    let played = draw(&house, &ledger, (dialect, seed), believed).await;
                    if played.is_err_and(|failure| failure.problem.starts_with(wanted)) {
                        return;
                    }
                }
                panic!("{}: {wanted} is never found", dialect.name());
            });
        }
    }
}
