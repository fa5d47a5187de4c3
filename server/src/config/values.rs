//! Picks the value of each setting from the layers and reads it.

use serde_json::Value as Json;

use super::error::ConfigError;
use super::kinds::{Bounds, Kind};
use super::layers::{Origin, Raw, find};
use super::secrets::HIDDEN;
use super::setting::{Preset, Setting};
use super::units;

/// A setting as it took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The setting.
    pub name: &'static str,
    /// The value as it would be written, secrets masked.
    pub text: String,
    /// The value for scripts, secrets masked.
    pub json: Json,
    /// Where it came from.
    pub origin: Origin,
}

/// The layers, and what was read from them so far.
#[derive(Debug)]
pub struct Values {
    /// Flags first, then environment, then file.
    layers: Vec<Raw>,
    /// Cores of this machine, for defaults.
    cores: u64,
    /// One entry per setting read, in that order.
    pub(super) effective: Vec<Effective>,
}

impl Values {
    /// Takes the layers, the stronger ones first.
    pub(super) fn new(layers: Vec<Raw>, cores: u64) -> Self {
        let effective = Vec::new();
        Self {
            layers,
            cores,
            effective,
        }
    }

    /// Reads one setting as its kind, checks its bounds and remembers it for `driftless config`.
    pub(super) fn read<K: Kind>(&mut self, name: &'static str) -> Result<K::Value, ConfigError> {
        let unknown = || ConfigError::Unknown {
            key: name.into(),
            origin: "the server".into(),
            nearest: None,
        };
        let setting = find(name).ok_or_else(unknown)?;
        let (text, origin) = self.raw(setting);
        let refused = |expected: String| ConfigError::Value {
            name,
            shown: shown::<K>(&text),
            origin: origin.clone(),
            expected,
        };
        let value = K::parse(&text).map_err(refused)?;
        if let (Some(Bounds { min, max }), Some(number)) = (setting.bounds, K::number(&value))
            && !(min..=max).contains(&number)
        {
            let range = setting.range_text().unwrap_or_default();
            return Err(refused(range));
        }
        self.effective.push(Effective {
            name,
            text: mask(&K::show(&value)),
            json: mask_json(K::json(&value)),
            origin,
        });
        Ok(value)
    }

    /// The text of the strongest layer that sets it, or its default.
    fn raw(&self, setting: &Setting) -> (String, Origin) {
        let given = self.layers.iter().find(|raw| raw.name == setting.name);
        if let Some(raw) = given {
            return (raw.text.clone(), raw.origin.clone());
        }
        let read = |name: &str| {
            let earlier = self.effective.iter().find(|known| known.name == name);
            earlier.and_then(|known| known.json.as_u64()).unwrap_or(0)
        };
        let text = match setting.preset {
            Preset::Fixed(text) => text.to_owned(),
            Preset::Same(other) => read(other).to_string(),
            Preset::Plus { setting, bytes } => units::show_size(read(setting) + bytes),
            Preset::Cores { max } => self.cores.clamp(1, max).to_string(),
        };
        (text, Origin::Default)
    }
}

/// A refused value, quoted.
fn shown<K: Kind>(text: &str) -> String {
    if K::IS_SECRET {
        return HIDDEN.to_owned();
    }
    format!("\"{}\"", mask(text).escape_debug())
}

/// Replaces the password of anything that looks like a URL: `postgres://user:***@host/db`.
pub fn mask(text: &str) -> String {
    const MASK: &str = "***";
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (location, query) = match rest.split_once('?') {
        Some((location, query)) => (location, Some(query)),
        None => (rest, None),
    };
    // The last @ ends the credentials: a password may hold one itself.
    let location = match location.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
            None => format!("{credentials}@{host}"),
        },
        None => location.to_owned(),
    };
    let query = query.map(|query| {
        let parameters = query
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((key, _)) if is_secret(key) => format!("{key}={MASK}"),
                _ => parameter.to_owned(),
            });
        format!("?{}", parameters.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{location}{}", query.unwrap_or_default())
}

fn is_secret(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    ["password", "secret", "token", "key"]
        .iter()
        .any(|word| parameter.contains(word))
}

fn mask_json(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(mask(&text)),
        other => other,
    }
}
