//! What is known about one setting, apart from its value.

use super::kinds::Bounds;

/// One row of the table: flags, environment names, keys of the file, `driftless config` and
/// `docs/configuration.md` all derive from it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name in the file; with dashes it is the flag, in capitals the environment variable.
    pub name: &'static str,
    /// The heading it stands under.
    pub group: &'static str,
    /// How a value is written.
    pub syntax: &'static str,
    /// The allowed range, for numbers.
    pub bounds: Option<Bounds>,
    /// What it is when nobody says anything.
    pub preset: Preset,
    /// What it does, and why it is what it is.
    pub help: &'static str,
    /// How the bounds are written, in the kind's own unit.
    pub show_number: fn(u64) -> String,
}

/// A default.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// Always the same.
    Fixed(&'static str),
    /// The value of another setting and some bytes.
    Plus {
        /// The other setting.
        setting: &'static str,
        /// What is added.
        bytes: u64,
    },
    /// The value of another setting.
    Same(&'static str),
    /// The number of processor cores, up to a maximum.
    Cores {
        /// The most.
        max: u64,
    },
}

/// What every environment variable of the server starts with.
pub const ENVIRONMENT_PREFIX: &str = "DRIFTLESS_";

impl Setting {
    /// `--document-bytes-max`
    pub fn flag(&self) -> String {
        format!("--{}", self.long())
    }

    /// `document-bytes-max`
    pub fn long(&self) -> String {
        self.name.replace('_', "-")
    }

    /// `DRIFTLESS_DOCUMENT_BYTES_MAX`
    pub fn environment(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// True when it may stand in the file (the path of the file itself cannot).
    pub fn in_file(&self) -> bool {
        self.name != "config"
    }

    /// True when it is a yes or no, so that its flag needs no value.
    pub fn is_switch(&self) -> bool {
        self.syntax == "true|false"
    }

    /// True when its flag may be given several times.
    pub fn is_list(&self) -> bool {
        matches!(self.syntax, "ORIGIN" | "ADDRESS[/BITS]")
    }

    /// The default in words: `32MiB`, `document_bytes_max + 64KiB`, `none`.
    pub fn preset_text(&self) -> String {
        match self.preset {
            Preset::Fixed("") => "none".into(),
            Preset::Fixed(text) => text.into(),
            Preset::Plus { setting, bytes } => {
                format!("{setting} + {}", super::units::show_size(bytes))
            }
            Preset::Same(setting) => format!("as {setting}"),
            Preset::Cores { max } => format!("one per core, at most {max}"),
        }
    }

    /// The allowed range in words, if there is one.
    pub fn range_text(&self) -> Option<String> {
        let Bounds { min, max } = self.bounds?;
        let show = self.show_number;
        Some(format!("{} to {}", show(min), show(max)))
    }
}
