//! Every store and every bus passes its suite: who implements the contract enrols beside it.

use super::SourceFile;

/// A contract, where its implementations live, and what is none of them.
struct Contract {
    implementation: &'static str,
    within: &'static str,
    /// It only wraps another one, to make it fail.
    wrapper: Option<&'static str>,
}

const CONTRACTS: [Contract; 2] = [
    Contract {
        implementation: "impl Store for ",
        within: "server/src/store/",
        wrapper: Some("server/src/store/faulty.rs"),
    },
    Contract {
        implementation: "impl Bus for ",
        within: "server/src/bus/",
        wrapper: None,
    },
];

/// The line that makes a test of every function of the suite.
const ENROLMENT: &str = "enrol!(";

/// Findings about implementations that no suite knows.
pub(super) fn check(files: &[SourceFile]) -> Vec<String> {
    CONTRACTS
        .iter()
        .flat_map(|contract| check_contract(contract, files))
        .collect()
}

fn check_contract(contract: &Contract, files: &[SourceFile]) -> Vec<String> {
    let is_implementation = |file: &&SourceFile| {
        file.path.starts_with(contract.within)
            && !file.path.contains("/tests")
            && Some(file.path.as_str()) != contract.wrapper
            && file
                .text
                .lines()
                .any(|line| line.starts_with(contract.implementation))
    };
    files
        .iter()
        .filter(is_implementation)
        .filter(|file| !is_enrolled(home(contract, file), files))
        .map(|file| format!("{} implements a contract and enrols in no suite", file.path))
        .collect()
}

/// The file or the folder of an implementation: `server/src/store/postgres`.
fn home<'a>(contract: &Contract, file: &'a SourceFile) -> &'a str {
    let behind = contract.within.len();
    let end = file.path[behind..]
        .find('/')
        .map_or(file.path.len(), |at| behind + at);
    &file.path[..end]
}

fn is_enrolled(home: &str, files: &[SourceFile]) -> bool {
    let enrols = |file: &SourceFile| {
        let mut code = file
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        code.any(|line| line.contains(ENROLMENT))
    };
    files
        .iter()
        .any(|file| file.path.starts_with(home) && enrols(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_implementation_without_a_suite_is_found() {
        let store = file("server/src/store/new/mod.rs", "impl Store for New {");
        let bus = file("server/src/bus/new.rs", "impl Bus for New {");
        let said = file("server/src/store/new/tests.rs", "//! enrol!(New);");
        assert_eq!(check(&[store, bus, said]).len(), 2);
    }

    #[test]
    fn a_suite_beside_it_is_enough() {
        let store = file("server/src/store/new/mod.rs", "impl Store for New {");
        let tests = file("server/src/store/new/tests/mod.rs", "enrol!(New);");
        let bus = file(
            "server/src/bus/new.rs",
            "impl Bus for New {\n    enrol!(New);",
        );
        let wrapper = file("server/src/store/faulty.rs", "impl Store for Faulty {");
        assert_eq!(check(&[store, tests, bus, wrapper]), Vec::<String>::new());
    }
}
