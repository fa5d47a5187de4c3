//! The only reader of the process environment.

/// Environment variables; tests give their own.
pub trait Environment {
    /// All variables whose names start with `prefix`. A value that is not UTF-8 is an error that
    /// names the variable.
    fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, String)>, String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else {
                continue;
            };
            let value = value.into_string().map_err(|_| name.to_owned())?;
            found.push((name.to_owned(), value));
        }
        found.sort();
        Ok(found)
    }
}

/// A fixed environment, for tests.
impl Environment for Vec<(&str, &str)> {
    fn with_prefix(&self, prefix: &str) -> Result<Vec<(String, String)>, String> {
        let matching = self.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(matching
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect())
    }
}
