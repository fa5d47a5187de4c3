//! `driftless doctor`: looks at everything that a server needs of its surroundings.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::print::safe;
use super::target::run;
use super::time::rfc3339;
use super::{
    Context, EXIT_DAMAGED, EXIT_DONE, EXIT_REFUSED, EXIT_UNAVAILABLE, Failure, files, print,
};
use crate::auth;
use crate::backends::{bus_options, postgres_options};
use crate::bus::redis::{self, Database, RedisProblem};
use crate::clock::Clock;
use crate::config::parts::certificate_files;
use crate::config::{BusLocation, Settings, StoreLocation, check};
use crate::finding::{Finding, Grade};
use crate::store::data_folder::DataFolder;
use crate::store::{StoreError, postgres, sqlite};

/// Whoever renews by itself has done so by then: the usual tools begin 30 days ahead, or at a third
/// of the time that is left.
const CERTIFICATE_DAYS_MIN: u64 = 7;

/// Looks, and prints a line for each thing. Fails with the code of the first problem.
pub(super) fn perform(
    settings: &Settings,
    as_json: bool,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    check::servable(settings)?;
    let findings = run(async { Ok(examine(settings).await) })?;
    if as_json {
        print::json(&findings_json(&findings), context.output)?;
    } else {
        files::print(findings_text(&findings).as_bytes(), context.output)?;
    }
    let problems = findings.iter().filter(|one| one.grade.is_problem());
    let Some(first) = problems.clone().next() else {
        return Ok(());
    };
    let told = match problems.count() {
        1 => "a server would not work like this: 1 problem".to_owned(),
        many => format!("a server would not work like this: {many} problems"),
    };
    Err(Failure::new(code(first.grade), told))
}

fn code(grade: Grade) -> u8 {
    match grade {
        Grade::Ok | Grade::Warning => EXIT_DONE,
        Grade::Refused => EXIT_REFUSED,
        Grade::Unavailable => EXIT_UNAVAILABLE,
        Grade::Damaged => EXIT_DAMAGED,
    }
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let (folder, finding) = data_folder(&settings.data);
    let mut findings = vec![finding];
    let (mut cluster_id, mut fingerprint) = (None, None);
    match &settings.store {
        StoreLocation::Sqlite => findings.extend(embedded(&settings.data, folder.as_ref()).await),
        StoreLocation::Postgres(url) => {
            let options = postgres_options(settings, url.reveal());
            let checkup = postgres::examine(&options).await;
            findings.push(Finding::ok("store url", url.to_string()));
            findings.extend(checkup.findings);
            (cluster_id, fingerprint) = (checkup.cluster_id, checkup.fingerprint);
        }
    }
    findings.extend(bus(settings, cluster_id.as_deref(), fingerprint.as_deref()).await);
    findings.extend(auth::examine(settings).await);
    findings.extend(certificate(settings, Clock::start().wall_ms()));
    findings
}

/// Takes the folder's lock for as long as is looked, if it is free. Creates no folder.
fn data_folder(path: &Path) -> (Option<DataFolder>, Finding) {
    let shown = path.display();
    let subject = "data folder";
    if !path.exists() {
        let finding = match nearest_is_writable(path) {
            true => Finding::ok(
                subject,
                format!("{shown} is not there yet; serve creates it"),
            ),
            false => Finding::refused(
                subject,
                format!(
                    "{shown} is not there and cannot be created; make it, or choose another with --data"
                ),
            ),
        };
        return (None, finding);
    }
    match DataFolder::open(path) {
        Ok(folder) => {
            let text = format!("{shown} is usable, and no server runs on it");
            (Some(folder), Finding::ok(subject, text))
        }
        Err(StoreError::Refused(_)) => {
            let text = format!("{shown} is usable, and a server runs on it");
            (None, Finding::ok(subject, text))
        }
        Err(error) => (None, Finding::failed(subject, &error)),
    }
}

fn nearest_is_writable(path: &Path) -> bool {
    let mut parents = path.ancestors().skip(1).map(|parent| {
        if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        }
    });
    let nearest = parents.find(|parent| parent.exists());
    nearest.is_some_and(|parent| {
        parent.is_dir() && rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

async fn embedded(data: &Path, folder: Option<&DataFolder>) -> Vec<Finding> {
    let path = data.join(crate::store::data_folder::DATABASE_FILE_NAME);
    if !path.exists() {
        let text = "the embedded database is not there yet; the first start creates it";
        return vec![Finding::ok("store", text)];
    }
    let mut findings = vec![Finding::ok("store", path.display().to_string())];
    findings.extend(sqlite::examine(&path, folder).await);
    findings
}

async fn bus(
    settings: &Settings,
    cluster_id: Option<&str>,
    fingerprint: Option<&str>,
) -> Vec<Finding> {
    let subject = "bus";
    let is_shared = settings.store != StoreLocation::Sqlite;
    match (&settings.bus, cluster_id) {
        (BusLocation::Local, _) if is_shared => vec![Finding::warning(
            subject,
            "`local:`, which is for a single node: with several, changes of the others arrive \
             only by looking at the store; name Redis or Valkey with --bus",
        )],
        (BusLocation::Local, _) => vec![Finding::ok(subject, "`local:`, for a single node")],
        (BusLocation::Redis(_), None) if is_shared => vec![Finding::warning(
            subject,
            "not looked at: its names hold the cluster's id, which is not known without the store",
        )],
        (BusLocation::Redis(url), _) => match bus_options(settings, cluster_id) {
            Err(error) => vec![Finding::refused(subject, error.to_string())],
            Ok(None) => Vec::new(),
            Ok(Some(options)) => {
                let checked = redis::check(&options, fingerprint.map(Database::Look)).await;
                bus_findings(checked, &url.to_string())
            }
        },
    }
}

fn bus_findings(
    checked: Result<redis::RedisReport, RedisProblem>,
    shown_url: &str,
) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("bus url", shown_url)];
    let report = match checked {
        Ok(report) => report,
        Err(RedisProblem::Unreachable(told)) => {
            let text = format!(
                "Redis cannot be reached: {told}; check host and port in --bus, and that the \
                 server runs"
            );
            findings.push(Finding::new("bus", Grade::Unavailable, text));
            return findings;
        }
        Err(RedisProblem::Refused(told)) => {
            findings.push(Finding::refused("bus", told));
            return findings;
        }
    };
    findings.push(match &report.version {
        Some(version) => Finding::ok(
            "bus",
            format!("Redis {version} answers and carries messages"),
        ),
        None => Finding::warning(
            "bus",
            "Redis carries messages, but does not tell its version; let the user run INFO, or \
             make sure that it is 6.2 or newer",
        ),
    });
    let milliseconds = report.round_trip.as_secs_f64() * 1_000.0;
    let text = format!("{milliseconds:.1} ms from publishing to hearing");
    findings.push(Finding::ok("bus round trip", text));
    if let Some(ahead_ms) = report.ahead_ms {
        findings.push(postgres::clock_finding("bus clock", ahead_ms));
    }
    findings
}

/// The certificate of the doors, if they are to speak TLS.
fn certificate(settings: &Settings, now_ms: u64) -> Option<Finding> {
    let subject = "tls";
    let files = certificate_files(settings)?;
    let validity = match files.load() {
        Ok(certificate) => certificate.validity,
        Err(error) => return Some(Finding::refused(subject, error.to_string())),
    };
    let now = now_ms / 1_000;
    let shown = files.certificate.display();
    let ends = rfc3339(validity.not_after.saturating_mul(1_000));
    let days = validity.days_left(now);
    Some(match validity.problem(now) {
        Some(problem) => {
            let text = format!("{shown} {problem} (it ends {ends}): clients refuse it; renew it");
            Finding::warning(subject, text)
        }
        None if days < CERTIFICATE_DAYS_MIN => {
            let text = format!("{shown} expires in {days} days ({ends}); renew it");
            Finding::warning(subject, text)
        }
        None => {
            let text = format!("{shown} fits its key, {days} days left ({ends})");
            Finding::ok(subject, text)
        }
    })
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Warning => "warning",
        Grade::Refused | Grade::Unavailable | Grade::Damaged => "problem",
    }
}

fn findings_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for one in findings {
        let line = (word(one.grade), one.subject, safe(&one.text));
        let _ = writeln!(text, "{:<8} {:<15} {}", line.0, line.1, line.2);
    }
    text
}

fn findings_json(findings: &[Finding]) -> serde_json::Value {
    let count = |wanted: &str| {
        findings
            .iter()
            .filter(|one| word(one.grade) == wanted)
            .count()
    };
    let checks = findings
        .iter()
        .map(|one| json!({ "check": one.subject, "state": word(one.grade), "text": one.text }));
    json!({
        "checks": checks.collect::<Vec<_>>(),
        "warnings": count("warning"),
        "problems": count("problem"),
    })
}
