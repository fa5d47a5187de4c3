//! The suites themselves, in the order they run.

use super::{Context, Suite, Verdict};
use crate::command::{cargo, program, run};
use crate::error::StepError;
use crate::generators::FUZZ_TARGETS;
use crate::{clusters, setup, tidy};

/// The target that proves that the protocol needs no system.
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// One build with all features serves every suite that runs code.
const TEST_ALL: [&str; 4] = ["test", "--locked", "--workspace", "--all-features"];

/// Tests of `server/tests/javascript.rs` start so; they are suites of their own.
const JS_IN_NODE: &str = "js_clients_in_node";
const JS_IN_CHROMIUM: &str = "js_clients_in_chromium";

/// Seconds in a debug build; the millions are for `cargo xtask fuzz --release`.
const FUZZ_INPUTS: &str = "200000";
const FUZZ_SEED: &str = "1";

/// Folders of `examples/` that build, lint and sync.
const EXAMPLES: [&str; 2] = ["web-editor", "tiptap"];

/// Networks beyond those that `proto/tests/simulation.rs` runs.
const SIMULATE_SEEDS: &str = "500";
const SIMULATE_FIRST: &str = "1000";

/// A minute of what `cargo xtask cluster-faults` does for as long as one likes.
const FAULTS_IN_SHORT: [&str; 8] = [
    "--rounds",
    "6",
    "--seed",
    "5",
    "--documents",
    "4",
    "--longest",
    "2.5",
];

/// Cheap checks first, so that a slip is known within seconds.
pub(super) const SUITES: [Suite; 13] = [
    suite("fmt", "the code is formatted", fmt),
    suite("tidy", "layout, edges, headers and sizes hold", check_tidy),
    suite("deny", "licences, sources and bans of crates hold", deny),
    suite(
        "clippy",
        "no lint in any target, with and without features",
        clippy,
    ),
    suite("rust", "all tests of all crates pass", rust),
    suite(
        "simulate",
        "whole networks with crashes keep every promise",
        simulate,
    ),
    suite("fuzz", "no decoder is broken by mutated input", fuzz),
    suite(
        "cluster",
        "nodes agree and lose nothing while parts of a cluster die",
        cluster,
    ),
    suite(
        "js",
        "unmodified clients in Node converge and lose nothing",
        js,
    ),
    suite("chromium", "tabs of a real browser do, too", chromium),
    suite(
        "example",
        "the web editor and Tiptap build, lint, and sync in Chromium",
        example,
    ),
    suite("deploy", "the deployment files pass their linters", deploy),
    suite("wasm", "the protocol builds for wasm32", wasm),
];

type Step = fn(&Context) -> Result<Verdict, StepError>;

const fn suite(name: &'static str, proves: &'static str, run: Step) -> Suite {
    Suite { name, proves, run }
}

fn passed(result: Result<(), StepError>) -> Result<Verdict, StepError> {
    result.map(|()| Verdict::Passed)
}

fn fmt(context: &Context) -> Result<Verdict, StepError> {
    passed(run(cargo(&context.root).args(["fmt", "--all", "--check"])))
}

fn check_tidy(context: &Context) -> Result<Verdict, StepError> {
    passed(tidy::run(&context.root))
}

fn deny(context: &Context) -> Result<Verdict, StepError> {
    let cargo_deny = setup::cargo_deny(&context.root, &context.target)?;
    let mut command = program(&cargo_deny.display().to_string(), &context.root);
    command.args([
        "--all-features",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
    passed(run(&mut command))
}

/// Features add code and so do tests: both with everything on, and what users build.
fn clippy(context: &Context) -> Result<Verdict, StepError> {
    let lint = |arguments: &[&str]| {
        let mut command = cargo(&context.root);
        command
            .args(["clippy", "--locked", "--workspace"])
            .args(arguments);
        run(command.args(["--", "--deny", "warnings"]))
    };
    lint(&["--all-targets", "--all-features"])?;
    passed(lint(&[]))
}

fn rust(context: &Context) -> Result<Verdict, StepError> {
    setup::npm_packages(&context.root)?;
    setup::cluster_programs(&context.root)?;
    let mut command = cargo(&context.root);
    command.args(TEST_ALL).args(["--no-fail-fast", "--"]);
    passed(run(command.args([
        "--skip",
        JS_IN_NODE,
        "--skip",
        JS_IN_CHROMIUM,
    ])))
}

fn js(context: &Context) -> Result<Verdict, StepError> {
    setup::npm_packages(&context.root)?;
    setup::sqlite_shell(&context.root)?;
    setup::cluster_programs(&context.root)?;
    let mut command = cargo(&context.root);
    command
        .args(TEST_ALL)
        .args(["--test", "javascript", "--", JS_IN_NODE]);
    passed(run(&mut command))
}

fn chromium(context: &Context) -> Result<Verdict, StepError> {
    setup::npm_packages(&context.root)?;
    let browser = setup::chromium(&context.root)?;
    let mut command = cargo(&context.root);
    command
        .args(TEST_ALL)
        .args(["--test", "javascript", "--", JS_IN_CHROMIUM]);
    passed(run(command.env("CHROMIUM", browser)))
}

/// Builds with the features of the tests, so that nothing is compiled a second time.
fn build(context: &Context) -> Result<(), StepError> {
    let arguments = [
        "build",
        "--locked",
        "--workspace",
        "--all-features",
        "--bins",
    ];
    run(cargo(&context.root).args(arguments))
}

fn simulate(context: &Context) -> Result<Verdict, StepError> {
    build(context)?;
    let simulator = context
        .target
        .join("debug/examples/simulate")
        .display()
        .to_string();
    let mut command = program(&simulator, &context.root);
    passed(run(command.args([
        "--seeds",
        SIMULATE_SEEDS,
        "--first",
        SIMULATE_FIRST,
    ])))
}

fn fuzz(context: &Context) -> Result<Verdict, StepError> {
    build(context)?;
    let fuzzer = context
        .target
        .join("debug/driftless-fuzz")
        .display()
        .to_string();
    let mut targets = FUZZ_TARGETS.iter();
    passed(targets.try_for_each(|target| {
        let mut command = program(&fuzzer, &context.root);
        run(command.args([target, "--inputs", FUZZ_INPUTS, "--seed", FUZZ_SEED]))
    }))
}

fn cluster(context: &Context) -> Result<Verdict, StepError> {
    setup::cluster_programs(&context.root)?;
    build(context)?;
    let options = FAULTS_IN_SHORT.map(str::to_owned);
    let binaries = context.target.join("debug");
    let mut command = clusters::faults_command(&context.root, &binaries, &options);
    passed(run(&mut command))
}

fn deploy(context: &Context) -> Result<Verdict, StepError> {
    setup::deploy_linters(&context.root)?;
    let script = context.root.join("deploy/check.sh").display().to_string();
    let mut command = program(&script, &context.root);
    passed(run(command.arg(context.target.join("tools/deploy"))))
}

fn example(context: &Context) -> Result<Verdict, StepError> {
    setup::npm_packages(&context.root)?;
    let browser = setup::chromium(&context.root)?;
    build(context)?;
    for example in EXAMPLES {
        let folder = context.root.join("examples").join(example);
        let npm = |script: &str| {
            let mut command = program("npm", &folder);
            command.args(["run", script]).env("CHROMIUM", &browser);
            run(command.env("DRIFTLESS_BIN", context.target.join("debug/driftless")))
        };
        npm("lint")?;
        npm("build")?;
        npm("test")?;
    }
    Ok(Verdict::Passed)
}

fn wasm(context: &Context) -> Result<Verdict, StepError> {
    if !setup::wasm_target(&context.root, WASM_TARGET) {
        let reason = format!("no standard library for {WASM_TARGET}, and rustup cannot add it");
        return Ok(Verdict::Skipped(reason));
    }
    let arguments = [
        "check",
        "--locked",
        "--package",
        "driftless-proto",
        "--target",
        WASM_TARGET,
    ];
    passed(run(cargo(&context.root).args(arguments)))
}
