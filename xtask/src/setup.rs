//! Brings what the suites need onto a fresh machine, and is quick when it is already there.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::command::{capture, cargo, program, run};
use crate::error::StepError;
use crate::packages;

/// The folders with npm packages of their own, each with a lock file.
const NPM_FOLDERS: [&str; 5] = [
    "examples/tiptap",
    "examples/web-editor",
    "proto/tests/interop",
    "server/tests/import",
    "server/tests/js",
];

/// Installed from crates.io when no cargo-deny is there; about a minute on two cores.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The oldest Node.js that the suites are run with.
const NODE_MAJOR_MIN: u32 = 20;

/// Where distributions put a browser that speaks Chromium's debugging protocol.
const CHROMIUM_PATHS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// A copy of the lock file that `node_modules` was installed from; equal means up to date.
const LOCK_STAMP: &str = "node_modules/.installed-lock.json";

/// Installs the npm packages of every folder whose lock file changed since.
pub(crate) fn npm_packages(root: &Path) -> Result<(), StepError> {
    require_node(root)?;
    NPM_FOLDERS
        .iter()
        .try_for_each(|folder| npm_folder(&root.join(folder)))
}

fn npm_folder(folder: &Path) -> Result<(), StepError> {
    let lock = folder.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|source| io(&lock, source))?;
    let stamp = folder.join(LOCK_STAMP);
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run(program("npm", folder).args(["ci", "--no-audit", "--no-fund"]))?;
    fs::write(&stamp, wanted).map_err(|source| io(&stamp, source))
}

fn require_node(root: &Path) -> Result<(), StepError> {
    let missing = |what: String| StepError::Missing {
        what,
        remedy: format!("install Node.js {NODE_MAJOR_MIN} or newer with npm"),
    };
    let version = capture(program("node", root).arg("--version"))
        .map_err(|_| missing("Node.js".to_owned()))?;
    let major = version
        .trim()
        .trim_start_matches('v')
        .split('.')
        .next()
        .map(str::parse::<u32>);
    match major {
        Some(Ok(major)) if major >= NODE_MAJOR_MIN => Ok(()),
        _ => Err(missing(format!(
            "a recent Node.js (found {})",
            version.trim()
        ))),
    }
}

/// The path of a Chromium, installed with apt-get when there is none. `CHROMIUM` overrides it.
pub(crate) fn chromium(root: &Path) -> Result<PathBuf, StepError> {
    if let Some(path) = find_chromium() {
        return Ok(path);
    }
    packages::install(root, "chromium").map_err(|error| StepError::Missing {
        what: format!("Chromium ({error})"),
        remedy: "install the package chromium, or point CHROMIUM at a browser".to_owned(),
    })?;
    find_chromium().ok_or_else(|| StepError::Missing {
        what: "Chromium".to_owned(),
        remedy: "point CHROMIUM at a browser".to_owned(),
    })
}

/// `make`, which jemalloc builds with, installed with apt-get when it is missing.
pub(crate) fn make(root: &Path) -> Result<(), StepError> {
    if capture(program("make", root).arg("--version")).is_ok() {
        return Ok(());
    }
    packages::install(root, "make").map_err(|error| StepError::Missing {
        what: format!("make ({error})"),
        remedy: "install the package make".to_owned(),
    })
}

fn find_chromium() -> Option<PathBuf> {
    let given = env::var_os("CHROMIUM").map(PathBuf::from);
    given
        .into_iter()
        .chain(CHROMIUM_PATHS.iter().map(PathBuf::from))
        .find(|path| path.is_file())
}

/// A program that suites start, the package that brings it, and where it may lie.
struct Server {
    package: &'static str,
    paths: &'static [&'static str],
}

const SERVERS: [Server; 3] = [
    Server {
        package: "pgbouncer",
        paths: &["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"],
    },
    Server {
        package: "redis-server",
        paths: &["/usr/bin/redis-server", "/usr/local/bin/redis-server"],
    },
    Server {
        package: "haproxy",
        paths: &["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"],
    },
];

/// What `deploy/check.sh` asks.
const LINTERS: [Server; 5] = [
    Server {
        package: "haproxy",
        paths: &["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"],
    },
    Server {
        package: "nginx-light",
        paths: &["/usr/sbin/nginx"],
    },
    Server {
        package: "libnginx-mod-stream",
        paths: &["/usr/lib/nginx/modules/ngx_stream_module.so"],
    },
    Server {
        package: "shellcheck",
        paths: &["/usr/bin/shellcheck"],
    },
    Server {
        package: "systemd",
        paths: &["/usr/bin/systemd-analyze"],
    },
];

/// The linters of deployment files, installed with apt-get when they are missing.
pub(crate) fn deploy_linters(root: &Path) -> Result<(), StepError> {
    let mut missing = missing_of(&LINTERS);
    let has_venv = capture(program("python3", root).args(["-c", "import ensurepip, venv"]));
    if has_venv.is_err() {
        missing.push("python3-venv");
    }
    install_missing(root, &missing)
}

/// What holds the embedded database from outside while tests look.
const SQLITE_SHELL: [Server; 1] = [Server {
    package: "sqlite3",
    paths: &["/usr/bin/sqlite3", "/usr/local/bin/sqlite3"],
}];

/// The shell of SQLite, installed with apt-get when it is missing.
pub(crate) fn sqlite_shell(root: &Path) -> Result<(), StepError> {
    install_missing(root, &missing_of(&SQLITE_SHELL))
}

fn missing_of(wanted: &[Server]) -> Vec<&'static str> {
    let is_missing = |one: &&Server| !one.paths.iter().any(|path| Path::new(path).exists());
    wanted
        .iter()
        .filter(is_missing)
        .map(|one| one.package)
        .collect()
}

/// The servers that clusters are made of, installed with apt-get when they are missing.
pub(crate) fn cluster_programs(root: &Path) -> Result<(), StepError> {
    let mut missing = missing_of(&SERVERS);
    if !has_postgres() {
        missing.push("postgresql");
    }
    install_missing(root, &missing)
}

/// Installs packages without starting the servers that they bring.
fn install_missing(root: &Path, missing: &[&str]) -> Result<(), StepError> {
    if missing.is_empty() {
        return Ok(());
    }
    packages::install_servers(root, missing).map_err(|error| StepError::Missing {
        what: format!("{} ({error})", missing.join(", ")),
        remedy: "install these packages".to_owned(),
    })
}

fn has_postgres() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql");
    let mut folders = versions.into_iter().flatten().flatten();
    env::var_os("POSTGRES_PROGRAMS").is_some()
        || folders.any(|folder| folder.path().join("bin/initdb").is_file())
}

/// The path of a cargo-deny: the one on the machine, or one built into `target/tools`.
pub(crate) fn cargo_deny(root: &Path, target: &Path) -> Result<PathBuf, StepError> {
    let tools = target.join("tools");
    let ours = tools.join("bin/cargo-deny");
    if ours.is_file() {
        return Ok(ours);
    }
    if capture(program("cargo-deny", root).arg("--version")).is_ok() {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let package = format!("cargo-deny@{CARGO_DENY_VERSION}");
    run(cargo(root)
        .args(["install", "--locked", "--debug", "--root"])
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        .arg(package))?;
    Ok(ours)
}

/// True when the standard library for wasm32 is installed, or could be.
pub(crate) fn wasm_target(root: &Path, name: &str) -> bool {
    let list = capture(program("rustup", root).args(["target", "list", "--installed"]));
    if list.is_ok_and(|list| list.lines().any(|line| line == name)) {
        return true;
    }
    run(program("rustup", root).args(["target", "add", name])).is_ok()
}

fn io(path: &Path, source: std::io::Error) -> StepError {
    StepError::Io {
        what: path.display().to_string(),
        source,
    }
}
