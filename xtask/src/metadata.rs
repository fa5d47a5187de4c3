//! What `cargo metadata` says about the workspace: its packages and their edges.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{capture, cargo};
use crate::error::StepError;

/// The part of a dependency's manifest entry that the checks look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// True for `[dev-dependencies]`.
    pub(crate) dev: bool,
    pub(crate) optional: bool,
}

/// One package of the build graph.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// The resolved workspace.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) members: BTreeSet<String>,
    pub(crate) target_directory: PathBuf,
    /// Package id to the ids it is built with; dev-dependencies left out.
    edges: BTreeMap<String, Vec<String>>,
}

impl Metadata {
    /// Asks cargo; needs no network once `Cargo.lock` is there and the crates are fetched.
    pub(crate) fn read(root: &Path) -> Result<Self, StepError> {
        let text = capture(cargo(root).args(["metadata", "--format-version=1", "--locked"]))?;
        let unreadable = || StepError::Unreadable("cargo metadata".to_owned());
        let value: Value = serde_json::from_str(&text).map_err(|_| unreadable())?;
        let packages = list(&value["packages"])
            .map(package)
            .collect::<Option<Vec<_>>>();
        let target_directory = value["target_directory"].as_str().map(PathBuf::from);
        Ok(Self {
            packages: packages.ok_or_else(unreadable)?,
            members: list(&value["workspace_members"])
                .filter_map(text_of)
                .collect(),
            target_directory: target_directory.ok_or_else(unreadable)?,
            edges: list(&value["resolve"]["nodes"])
                .filter_map(edges_of_node)
                .collect(),
        })
    }

    /// The packages of this repository.
    pub(crate) fn local(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.members.contains(&package.id))
    }

    /// Everything that ends up in a build of `package`, itself left out.
    pub(crate) fn closure(&self, package: &Package) -> Vec<&Package> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![package.id.as_str()];
        while let Some(id) = waiting.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    waiting.push(next);
                }
            }
        }
        self.packages
            .iter()
            .filter(|package| seen.contains(package.id.as_str()))
            .collect()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn package(value: &Value) -> Option<Package> {
    Some(Package {
        id: text_of(&value["id"])?,
        name: text_of(&value["name"])?,
        dependencies: list(&value["dependencies"])
            .filter_map(dependency)
            .collect(),
    })
}

fn dependency(value: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: text_of(&value["name"])?,
        dev: value["kind"].as_str() == Some("dev"),
        optional: value["optional"].as_bool().unwrap_or(false),
    })
}

fn edges_of_node(node: &Value) -> Option<(String, Vec<String>)> {
    let built_with = |dependency: &&Value| {
        list(&dependency["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"))
    };
    let ids = list(&node["deps"])
        .filter(built_with)
        .filter_map(|edge| text_of(&edge["pkg"]));
    Some((text_of(&node["id"])?, ids.collect()))
}
