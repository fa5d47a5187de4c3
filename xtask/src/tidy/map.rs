//! `ARCHITECTURE.md` names every folder there is, so that the map cannot fall behind.

use std::collections::BTreeSet;

use super::SourceFile;

const MAP: &str = "ARCHITECTURE.md";

/// Folders whose sub-folders the map names too.
const MAPPED_INSIDE: [&str; 2] = ["proto/src", "server/src"];

/// Findings about folders that the map does not name.
pub(super) fn check(paths: &[String], files: &[SourceFile]) -> Vec<String> {
    let Some(map) = files.iter().find(|file| file.path == MAP) else {
        return vec![format!("{MAP} is missing")];
    };
    let named = |folder: &String| map.text.contains(&format!("`{folder}/`"));
    let unnamed = folders(paths).into_iter().filter(|folder| !named(folder));
    unnamed
        .map(|folder| format!("{MAP} does not name `{folder}/`"))
        .collect()
}

fn folders(paths: &[String]) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for path in paths {
        if let Some((top, _)) = path.split_once('/') {
            folders.insert(top.to_owned());
        }
        for parent in MAPPED_INSIDE {
            let inside = path
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some((folder, _)) = inside.and_then(|rest| rest.split_once('/')) {
                folders.insert(format!("{parent}/{folder}"));
            }
        }
    }
    // Cargo's own settings are no part of the architecture.
    folders.remove(".cargo");
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(map: &str, paths: &[&str]) -> Vec<String> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        check(
            &paths,
            &[SourceFile {
                path: MAP.to_owned(),
                text: map.to_owned(),
            }],
        )
    }

    #[test]
    fn a_folder_that_the_map_does_not_name_is_found() {
        let paths = ["README.md", "server/src/store/mod.rs", "server/Cargo.toml"];
        assert_eq!(
            findings("`server/` and `server/src/store/`", &paths),
            Vec::<String>::new()
        );
        assert_eq!(findings("`server/`", &paths).len(), 1);
        assert_eq!(findings("", &paths).len(), 2);
        assert_eq!(check(&[], &[]).len(), 1);
    }
}
