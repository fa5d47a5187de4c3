//! The settings: from flags, `DRIFTLESS_*` variables and a TOML file, in that order over defaults.
//!
//! ```text
//!  flags ─▶┐
//!  env   ─▶┼▶ layers ─▶ Values (by the TABLE) ─▶ check ─▶ Settings ─▶ app
//!  file  ─▶┘                  └▶ Effective ─▶ `driftless config`
//! ```
//!
//! [`table`] is the only list of settings; everything else derives from it.

pub mod check;
pub mod choices;
pub mod docs;
pub mod environment;
pub mod error;
pub mod flags;
pub mod kinds;
pub mod layers;
pub mod names;
pub mod parts;
pub mod ranges;
pub mod report;
pub mod secrets;
pub mod setting;
pub mod table;
pub mod units;
pub mod values;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;

pub use error::ConfigError;
pub use flags::{Flags, FolderFlags, ServerFlags, SigningFlags};
pub use kinds::{BusLocation, LogFormat, RelayMode, StoreLocation};
pub use secrets::{SecretText, ServiceUrl};
pub use table::{Settings, TABLE};
pub use values::Effective;

use environment::Environment;
use layers::{FILE_BYTES_MAX, Raw};
use values::Values;

/// The settings, and where each came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the server runs with.
    pub settings: Settings,
    /// One entry per setting, in the order of the table.
    pub effective: Vec<Effective>,
}

/// Reads all layers and checks what comes out. `cores` sets the default numbers of threads.
pub fn load(
    flags: &Flags,
    environment: &dyn Environment,
    cores: u64,
) -> Result<Loaded, ConfigError> {
    let mut layers = flags.layer();
    layers.extend(layers::from_environment(environment)?);
    let path = layers.iter().find(|raw| raw.name == "config");
    let path = path.map(|raw| raw.text.clone());
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        layers.extend(layers::from_file(&path, &read_file(&path)?)?);
    }
    resolve(layers, cores)
}

/// Picks, reads and checks the values of already collected layers, the stronger ones first.
fn resolve(layers: Vec<Raw>, cores: u64) -> Result<Loaded, ConfigError> {
    let mut values = Values::new(layers, cores);
    let settings = Settings::read(&mut values)?;
    check::consistent(&settings)?;
    let effective = values.effective;
    Ok(Loaded {
        settings,
        effective,
    })
}

fn read_file(path: &str) -> Result<String, ConfigError> {
    let failed = |problem: String| ConfigError::File {
        path: path.to_owned(),
        problem,
    };
    let cannot = |error: std::io::Error| failed(format!("cannot be read: {error}"));
    let file = std::fs::File::open(Path::new(path)).map_err(cannot)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed("is larger than 1MiB; is it the right file?".into()));
    }
    Ok(text)
}
