//! Command-line flags from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::layers::{Origin, Raw, find};
use super::setting::Setting;
use super::table::TABLE;

/// The settings that were given as flags, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Flags as they would come from the command line; unknown names are left out.
    pub fn given(pairs: &[(&str, &str)]) -> Self {
        let known = |(name, text): &(&str, &str)| Some((find(name)?.name, (*text).to_owned()));
        Self(pairs.iter().filter_map(known).collect())
    }

    /// The strongest layer.
    pub(super) fn layer(&self) -> Vec<Raw> {
        let raw = |(name, text): &(&'static str, String)| Raw {
            name,
            text: text.clone(),
            origin: Origin::Flag(find(name).map_or(String::new(), Setting::flag)),
        };
        self.0.iter().map(raw).collect()
    }

    fn read(matches: &ArgMatches) -> Self {
        let text = |setting: &'static Setting| {
            let given = matches.try_get_many::<String>(setting.name).ok()??;
            let texts: Vec<_> = given.map(String::as_str).collect();
            Some((setting.name, texts.join(",")))
        };
        Self(TABLE.iter().filter_map(text).collect())
    }
}

/// One setting as a flag. Clap does not read the environment: the layers do.
fn argument(setting: &'static Setting) -> Arg {
    let range = setting
        .range_text()
        .map_or(String::new(), |range| format!("; {range}"));
    let notes = format!(
        "[default: {}{range}] [env: {}]",
        setting.preset_text(),
        setting.environment()
    );
    let help = setting.help;
    let argument = Arg::new(setting.name)
        .long(setting.long())
        .value_name(setting.syntax)
        .help_heading(setting.group)
        .help(format!("{help} {notes}"))
        .long_help(format!("{help}\n{notes}"));
    if setting.is_switch() {
        argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else if setting.is_list() {
        argument.action(ArgAction::Append)
    } else {
        argument.action(ArgAction::Set)
    }
}

/// All settings as flags, for `serve` and `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFlags(pub Flags);

/// The settings that say where documents are, for commands that work on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderFlags(pub Flags);

/// The settings that say how tokens are minted, for `token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningFlags(pub Flags);

/// The names of [`FolderFlags`].
const FOLDER_SETTINGS: [&str; 3] = ["data", "store", "config"];

/// The names of [`SigningFlags`].
const SIGNING_SETTINGS: [&str; 3] = ["auth_signing_key", "auth_secret", "config"];

impl FromArgMatches for ServerFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Flags::read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServerFlags {
    fn augment_args(command: Command) -> Command {
        let settings = TABLE.iter();
        settings.fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FolderFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Flags::read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for FolderFlags {
    fn augment_args(command: Command) -> Command {
        let settings = FOLDER_SETTINGS.iter().filter_map(|name| find(name));
        settings.fold(command, |command, setting| {
            command.arg(argument(setting).global(true))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SigningFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Flags::read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SigningFlags {
    fn augment_args(command: Command) -> Command {
        let settings = SIGNING_SETTINGS.iter().filter_map(|name| find(name));
        settings.fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
