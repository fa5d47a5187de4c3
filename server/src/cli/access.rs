//! `driftless session …` and `driftless access …`: who is there, and who may no longer be.

use std::fmt::Write as _;
use std::io::Write;

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};

use super::document::ask;
use super::print::{self, safe};
use super::target::{Target, run};
use super::time::rfc3339;
use super::{EXIT_USAGE, Failure};
use crate::access::Selection;
use crate::admin::access::wire::{
    AccessCommand as Asked, AccessReply, Listed, OtherNodes, Reached, Restricted, Wanted, Whom,
};
use crate::admin::command::LIST_LIMIT_MAX;
use crate::admin::{Command, Reply};
use crate::config::{Settings, units};

pub(super) const SESSION_HELP: &str = "\
Works through the admin socket of a running server. `list` shows the sessions of that node; `end` and \
`check` reach all nodes over the bus. What is given has to fit together; a star in a document's name \
stands for any run of characters.

Examples:
  driftless session list --document 'team/*'
  driftless session end --subject ada
  driftless session check --token-id 7f3a";

pub(super) const ACCESS_HELP: &str = "\
A restriction holds for new sessions and for live ones, on all nodes, whatever a token or the \
application grants. It is kept in the store. Works on a running server and on the store of a stopped one.

Examples:
  driftless access restrict --subject ada --to none --reason 'left the company'
  driftless access restrict --subject ada --to none --old-tokens
  driftless access restrict --document 'team/*' --to read --for 1h
  driftless access restrict --token-id 7f3a --to none
  driftless access list
  driftless access lift 4h1k9zq0c2dm";

/// Whom a command concerns.
#[derive(Debug, Args)]
pub(super) struct WhomArguments {
    /// A document, or a pattern: a star stands for any run of characters, slashes included
    #[arg(long, value_name = "PATTERN")]
    document: Option<String>,
    /// An identity (`sub` of its tokens)
    #[arg(long)]
    subject: Option<String>,
    /// The id of a token (`jti`)
    #[arg(long, value_name = "ID")]
    token_id: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List sessions of this node
    List {
        #[command(flatten)]
        whom: WhomArguments,
    },
    /// End sessions now, on all nodes; they may come back
    End {
        #[command(flatten)]
        whom: WhomArguments,
    },
    /// Have the access of sessions judged anew, past what is remembered, on all nodes
    Check {
        #[command(flatten)]
        whom: WhomArguments,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AccessCommand {
    /// Lower what some may do, at once and for those who come later
    Restrict {
        #[command(flatten)]
        whom: WhomArguments,
        /// The most that is left to them
        #[arg(long, value_enum)]
        to: Most,
        /// How long, such as 1h or 7d; until it is lifted when left out
        #[arg(long = "for", value_name = "DURATION")]
        lasts: Option<String>,
        /// Let those be who come with a token issued from now on
        #[arg(long)]
        old_tokens: bool,
        /// Why, for those who find it later
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List the restrictions in force
    List,
    /// Lift a restriction: live sessions get back what they were granted
    Lift {
        /// Its id
        id: String,
    },
}

/// What can be left to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Most {
    /// Nothing: sessions end, and cannot come back
    None,
    /// Read
    Read,
    /// Read, and be present
    Comment,
}

impl WhomArguments {
    fn whom(self) -> Whom {
        Whom {
            document: self.document,
            subject: self.subject,
            token_id: self.token_id,
        }
    }

    /// Refuses what means everybody.
    fn somebody(self) -> Result<Whom, Failure> {
        let whom = self.whom();
        let checked = Selection::from(whom.clone()).check();
        checked.map_err(|error| Failure::new(EXIT_USAGE, error))?;
        Ok(whom)
    }
}

/// Performs one command on sessions.
pub(super) fn sessions(
    command: SessionCommand,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let asked = match command {
        SessionCommand::List { whom } => Asked::Sessions { whom: whom.whom() },
        SessionCommand::End { whom } => Asked::EndSessions {
            whom: whom.somebody()?,
        },
        SessionCommand::Check { whom } => Asked::CheckSessions {
            whom: whom.somebody()?,
        },
    };
    tell(asked, settings, json, output)
}

/// Performs one command on restrictions.
pub(super) fn perform(
    command: AccessCommand,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    match command {
        AccessCommand::Restrict {
            whom,
            to,
            lasts,
            old_tokens,
            reason,
        } => {
            let right_max = match to {
                Most::None => "none",
                Most::Read => "read",
                Most::Comment => "comment",
            };
            let wanted = Wanted {
                on: whom.somebody()?,
                right_max: right_max.to_owned(),
                for_ms: lasts.as_deref().map(duration).transpose()?,
                old_tokens_only: old_tokens,
                reason,
            };
            tell(Asked::Restrict { wanted }, settings, json, output)
        }
        AccessCommand::List => list(settings, json, output),
        AccessCommand::Lift { id } => tell(Asked::Lift { id }, settings, json, output),
    }
}

fn duration(text: &str) -> Result<u64, Failure> {
    let duration_ms = units::parse_duration_ms(text).filter(|duration_ms| *duration_ms > 0);
    duration_ms.ok_or_else(|| {
        let told = "is no duration with its unit, such as 15m, 1h or 7d";
        Failure::new(EXIT_USAGE, format!("--for {} {told}", text.escape_debug()))
    })
}

fn tell(
    asked: Asked,
    settings: &Settings,
    json: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let (reply, _) = ask(Command::Access(asked), Bytes::new(), settings)?;
    print::reply(&reply, json, output)
}

/// Collects all pages, the oldest restriction first.
fn list(settings: &Settings, json: bool, output: &mut dyn Write) -> Result<(), Failure> {
    let mut restrictions: Vec<Restricted> = run(async {
        let target = Target::open(settings).await?;
        let mut restrictions: Vec<Restricted> = Vec::new();
        loop {
            let asked = Asked::List {
                after: restrictions.last().map(|last| last.id.clone()),
                limit: LIST_LIMIT_MAX,
            };
            match target.perform(Command::Access(asked), Bytes::new()).await? {
                (Reply::Access(AccessReply::List { restrictions: page }), _)
                    if !page.is_empty() =>
                {
                    restrictions.extend(page);
                }
                _ => break,
            }
        }
        target.close().await?;
        Ok(restrictions)
    })?;
    restrictions.sort_by_key(|one| one.since_ms);
    let reply = Reply::Access(AccessReply::List { restrictions });
    print::reply(&reply, json, output)
}

/// The reply without its name.
pub(super) fn json(reply: &AccessReply) -> serde_json::Result<serde_json::Value> {
    match reply {
        AccessReply::Sessions(listed) => serde_json::to_value(listed),
        AccessReply::Restrict {
            restriction,
            reached,
        } => Ok(serde_json::json!({
            "restriction": restriction,
            "sessions": reached.sessions,
            "nodes": reached.nodes,
        })),
        AccessReply::List { restrictions } => serde_json::to_value(restrictions),
        AccessReply::EndSessions(reached)
        | AccessReply::CheckSessions(reached)
        | AccessReply::Lift(reached) => serde_json::to_value(reached),
    }
}

/// The reply for people.
pub(super) fn text(reply: &AccessReply) -> String {
    match reply {
        AccessReply::Sessions(listed) => session_lines(listed),
        AccessReply::EndSessions(reached) => done("ended", reached),
        AccessReply::CheckSessions(reached) => done("being checked", reached),
        AccessReply::Restrict {
            restriction,
            reached,
        } => {
            let id = safe(&restriction.id);
            let done = done("affected", reached);
            format!("restricted; `driftless access lift {id}` lifts it\n{done}")
        }
        AccessReply::Lift(reached) => format!("lifted\n{}", done("affected", reached)),
        AccessReply::List { restrictions } => restriction_lines(restrictions),
    }
}

fn done(what: &str, reached: &Reached) -> String {
    let sessions = match reached.sessions {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    };
    let nodes = match reached.nodes {
        OtherNodes::Alone => "",
        OtherNodes::Told => "; the other nodes were told",
        OtherNodes::Later => {
            "; other nodes could not be told and follow when they look at the store next (poll_ms)"
        }
        OtherNodes::Untold => {
            "; other nodes could not be told: run this again when the bus is back, or on each node"
        }
    };
    format!("{sessions} here {what}{nodes}\n")
}

fn session_lines(listed: &Listed) -> String {
    let mut text = format!(
        "{:<20}  {:<7}  {:<11}  {:<21}  {:<16}  {:<16}  {}\n",
        "SINCE", "RIGHT", "DOOR", "PEER", "SUBJECT", "TOKEN", "DOCUMENT"
    );
    let or_none = |part: &Option<String>| part.as_deref().map_or_else(|| "-".to_owned(), safe);
    for one in &listed.sessions {
        let _ = writeln!(
            text,
            "{:<20}  {:<7}  {:<11}  {:<21}  {:<16}  {:<16}  {}",
            rfc3339(one.since_ms),
            safe(&one.right),
            safe(&one.door),
            safe(&one.peer),
            or_none(&one.subject),
            or_none(&one.token_id),
            safe(&one.document),
        );
    }
    let more = listed.total.saturating_sub(listed.sessions.len() as u64);
    if more > 0 {
        let _ = writeln!(
            text,
            "… and {more} more; narrow it with --document, --subject or --token-id"
        );
    }
    text
}

fn restriction_lines(restrictions: &[Restricted]) -> String {
    let mut text = format!(
        "{:<12}  {:<7}  {:<20}  {:<20}  {}\n",
        "ID", "AT MOST", "SINCE", "UNTIL", "WHOM"
    );
    for one in restrictions {
        let until = one
            .until_ms
            .map_or_else(|| "until lifted".to_owned(), rfc3339);
        let _ = writeln!(
            text,
            "{:<12}  {:<7}  {:<20}  {until:<20}  {}",
            safe(&one.id),
            safe(&one.right_max),
            rfc3339(one.since_ms),
            whom_text(one),
        );
    }
    text
}

fn whom_text(restricted: &Restricted) -> String {
    let parts = [
        ("document", &restricted.on.document),
        ("subject", &restricted.on.subject),
        ("token", &restricted.on.token_id),
    ];
    let given = parts
        .into_iter()
        .filter_map(|(name, part)| Some(format!("{name} {}", safe(part.as_deref()?))));
    let mut text = given.collect::<Vec<_>>().join(", ");
    if let Some(before_ms) = restricted.issued_before_ms {
        let _ = write!(text, ", tokens before {}", rfc3339(before_ms));
    }
    if !restricted.reason.is_empty() {
        let _ = write!(text, " ({})", safe(&restricted.reason));
    }
    text
}
