//! Who may depend on whom: the edges of the layout in `ARCHITECTURE.md`, read off cargo.

use crate::metadata::{Metadata, Package};

/// What a package of this repository may use of the others.
struct Allowed {
    package: &'static str,
    /// Other packages of this repository.
    uses: &'static [&'static str],
    /// The same, in tests only.
    tests_use: &'static [&'static str],
}

/// Downwards only: the protocol knows nobody, the server does not know the client.
const ALLOWED: [Allowed; 9] = [
    Allowed {
        package: "driftless-proto",
        uses: &[],
        tests_use: &[],
    },
    Allowed {
        package: "driftless-fuzz",
        uses: &["driftless-proto"],
        tests_use: &[],
    },
    Allowed {
        package: "driftless",
        uses: &["driftless-proto"],
        tests_use: &["driftless-cluster", "driftless-proto", "sdk-core"],
    },
    Allowed {
        package: "driftless-cluster",
        uses: &[],
        tests_use: &[],
    },
    Allowed {
        package: "sdk-core",
        uses: &["driftless-proto"],
        tests_use: &["driftless-proto"],
    },
    Allowed {
        package: "sdk-wasm",
        uses: &["sdk-core"],
        tests_use: &[],
    },
    Allowed {
        package: "sdk-mobile",
        uses: &["sdk-core"],
        tests_use: &[],
    },
    Allowed {
        package: "loadtest",
        uses: &["driftless-cluster", "driftless-proto", "sdk-core"],
        tests_use: &[],
    },
    Allowed {
        package: "xtask",
        uses: &[],
        tests_use: &[],
    },
];

/// What the protocol's normal dependencies may be; optional ones are the generated gRPC types.
const PROTO_USES: [&str; 5] = ["bytes", "serde", "serde_json", "thiserror", "yrs"];
const PROTO_USES_BY_FEATURE: [&str; 3] = ["prost", "tonic", "tonic-prost"];

/// Crates that bring a runtime, a socket or a disk; never below the protocol or the client's core.
const SYSTEM_CRATES: [&str; 10] = [
    "actix",
    "actix-rt",
    "actix-web",
    "async-std",
    "hyper",
    "mio",
    "reqwest",
    "socket2",
    "sqlx",
    "tokio",
];
const PURE_PACKAGES: [&str; 2] = ["driftless-proto", "sdk-core"];

/// Findings about the dependency graph.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let local: Vec<_> = metadata
        .local()
        .map(|package| package.name.as_str())
        .collect();
    let mut findings = Vec::new();
    for package in metadata.local() {
        findings.extend(internal_edges(package, &local));
        if PURE_PACKAGES.contains(&package.name.as_str()) {
            findings.extend(system_crates(package, &metadata.closure(package)));
        }
        if package.name == "driftless-proto" {
            findings.extend(proto_dependencies(package));
        }
    }
    findings
}

fn internal_edges(package: &Package, local: &[&str]) -> Vec<String> {
    let Some(allowed) = ALLOWED
        .iter()
        .find(|allowed| allowed.package == package.name)
    else {
        return vec![format!(
            "{}: not in the table of xtask/src/tidy/edges.rs",
            package.name
        )];
    };
    let forbidden = |name: &str, dev: bool| {
        let uses = if dev { allowed.tests_use } else { allowed.uses };
        local.contains(&name) && name != package.name && !uses.contains(&name)
    };
    let edges = package.dependencies.iter();
    edges
        .filter(|edge| forbidden(&edge.name, edge.dev))
        .map(|edge| format!("{} must not depend on {}", package.name, edge.name))
        .collect()
}

fn system_crates(package: &Package, closure: &[&Package]) -> Vec<String> {
    let found = closure
        .iter()
        .filter(|other| SYSTEM_CRATES.contains(&other.name.as_str()));
    found
        .map(|other| {
            format!(
                "{} must not reach {} (cargo tree -i {0})",
                package.name, other.name
            )
        })
        .collect()
}

fn proto_dependencies(package: &Package) -> Vec<String> {
    let allowed = |name: &str, optional: bool| {
        PROTO_USES.contains(&name) || (optional && PROTO_USES_BY_FEATURE.contains(&name))
    };
    let edges = package.dependencies.iter().filter(|edge| !edge.dev);
    edges
        .filter(|edge| !allowed(&edge.name, edge.optional))
        .map(|edge| format!("{} must not depend on {}", package.name, edge.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, dependencies: &[(&str, bool, bool)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|&(name, dev, optional)| Dependency {
                name: name.to_owned(),
                dev,
                optional,
            });
        let dependencies = dependencies.collect();
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            dependencies,
        }
    }

    #[test]
    fn only_downward_edges_are_allowed() {
        let local = ["driftless", "driftless-proto", "sdk-core"];
        let found = |name, edges: &[_]| internal_edges(&package(name, edges), &local).len();
        assert_eq!(found("driftless", &[("driftless-proto", false, false)]), 0);
        assert_eq!(found("driftless", &[("sdk-core", true, false)]), 0);
        assert_eq!(found("driftless", &[("sdk-core", false, false)]), 1);
        assert_eq!(found("driftless-proto", &[("driftless", true, false)]), 1);
        assert_eq!(found("driftless", &[("serde", false, false)]), 0);
        assert_eq!(found("a-new-package", &[]), 1);
    }

    #[test]
    fn the_protocol_reaches_no_system() {
        let proto = package("driftless-proto", &[]);
        let (tokio, bytes) = (package("tokio", &[]), package("bytes", &[]));
        assert_eq!(system_crates(&proto, &[&bytes]).len(), 0);
        assert_eq!(system_crates(&proto, &[&bytes, &tokio]).len(), 1);
        let direct = |edge| proto_dependencies(&package("driftless-proto", &[edge])).len();
        assert_eq!(direct(("yrs", false, false)), 0);
        assert_eq!(direct(("rand", false, false)), 1);
        assert_eq!(direct(("rand", true, false)), 0);
        assert_eq!(direct(("prost", false, false)), 1);
        assert_eq!(direct(("prost", false, true)), 0);
    }
}
