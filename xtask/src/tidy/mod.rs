//! `cargo xtask tidy`: the rules of the repository that no compiler checks.
//!
//! [`sources`] looks at the text of files, [`edges`] at who depends on whom, [`map`] at whether
//! `ARCHITECTURE.md` still describes the folders, [`enrolled`] at whether each store and bus is tested. Each returns findings; none stops at the first.

use std::path::{Path, PathBuf};

use crate::command::{capture, program};
use crate::error::StepError;
use crate::metadata::Metadata;

mod edges;
mod enrolled;
mod map;
mod sources;

/// A tracked text file.
#[derive(Debug)]
struct SourceFile {
    /// Relative to the repository, with forward slashes.
    path: String,
    text: String,
}

/// Checks the whole repository.
pub(crate) fn run(root: &Path) -> Result<(), StepError> {
    let paths = tracked_paths(root)?;
    let files: Vec<_> = paths.iter().filter_map(|path| read(root, path)).collect();
    let mut findings = sources::check(&files);
    findings.extend(edges::check(&Metadata::read(root)?));
    findings.extend(enrolled::check(&files));
    findings.extend(map::check(&paths, &files));
    println!("tidy: {} files looked at", files.len());
    StepError::from_findings(findings)
}

/// What git tracks or would track; ignored files are nobody's business.
fn tracked_paths(root: &Path) -> Result<Vec<String>, StepError> {
    let mut command = program("git", root);
    command.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listing = capture(&mut command).map_err(|error| StepError::Missing {
        what: format!("the list of files ({error})"),
        remedy: "run this in a git checkout, with git installed".to_owned(),
    })?;
    let mut paths: Vec<_> = listing.split_terminator('\0').map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// `None` for what is not text: pictures, stored fixtures, files deleted but not yet committed.
fn read(root: &Path, path: &str) -> Option<SourceFile> {
    let text = std::fs::read_to_string(root.join(PathBuf::from(path))).ok()?;
    Some(SourceFile {
        path: path.to_owned(),
        text,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        super::run(&crate::workspace_root()).unwrap();
    }
}
