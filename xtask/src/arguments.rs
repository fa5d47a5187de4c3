//! Reads the few options of the commands, without a parser crate.

use crate::error::StepError;

/// The words of the command line that were not understood yet.
#[derive(Debug)]
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words }
    }

    /// Takes the first word when it is not an option.
    pub(crate) fn positional(&mut self) -> Option<String> {
        match self.words.first() {
            Some(word) if !word.starts_with("--") => Some(self.words.remove(0)),
            _ => None,
        }
    }

    /// Takes `--name`; true when it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() != before
    }

    /// Takes `--name VALUE` or `--name=VALUE` once.
    pub(crate) fn value(&mut self, name: &str) -> Result<Option<String>, StepError> {
        let prefix = format!("{name}=");
        if let Some(at) = self.words.iter().position(|word| word.starts_with(&prefix)) {
            return Ok(Some(self.words.remove(at)[prefix.len()..].to_owned()));
        }
        let Some(at) = self.words.iter().position(|word| word == name) else {
            return Ok(None);
        };
        if at + 1 >= self.words.len() {
            return Err(StepError::Usage(format!("{name} needs a value")));
        }
        self.words.remove(at);
        Ok(Some(self.words.remove(at)))
    }

    /// Takes `--name NUMBER`, or gives the default.
    pub(crate) fn number(&mut self, name: &str, default: u64) -> Result<u64, StepError> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => text.replace('_', "").parse().map_err(|_| {
                StepError::Usage(format!("{name} needs a whole number, not {text:?}"))
            }),
        }
    }

    /// Hands on what was not taken, for a program that reads its own options.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words
    }

    /// Refuses what nobody understood.
    pub(crate) fn finish(self) -> Result<(), StepError> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(StepError::Usage(format!("{word:?} is not understood here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn values_flags_and_positionals_are_taken_in_any_order() {
        let mut given = arguments("update --seed=7 --release --inputs 1_000");
        assert_eq!(given.positional().as_deref(), Some("update"));
        assert_eq!(given.number("--inputs", 1).unwrap(), 1000);
        assert_eq!(given.number("--seed", 1).unwrap(), 7);
        assert!(given.flag("--release"));
        assert!(!given.flag("--release"));
        given.finish().unwrap();
    }

    #[test]
    fn what_nobody_understood_is_refused() {
        assert!(arguments("--sede 1").finish().is_err());
        assert!(arguments("--seed").number("--seed", 1).is_err());
        assert!(arguments("--seed x").number("--seed", 1).is_err());
    }
}
