//! Access on the wire of the admin socket, as JSON.

use driftless_proto::engine::Rights;
use serde::{Deserialize, Serialize};

use super::{Effect, NewRestriction, Nodes, Sessions};
use crate::access::{Restriction, Selection};
use crate::actors::LiveSession;
use crate::admin::operations::OperationError;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum AccessCommand {
    /// List sessions of this node.
    Sessions {
        /// Which; all when nothing is given.
        whom: Whom,
    },
    /// End sessions on all nodes.
    EndSessions {
        /// Which.
        whom: Whom,
    },
    /// Have the access of sessions granted anew, on all nodes.
    CheckSessions {
        /// Which.
        whom: Whom,
    },
    /// Restrict access.
    Restrict {
        /// How.
        wanted: Wanted,
    },
    /// List restrictions by id.
    List {
        /// Only ids behind this one.
        after: Option<String>,
        /// At most so many, and at most [`LIST_LIMIT_MAX`](crate::admin::command::LIST_LIMIT_MAX).
        limit: u32,
    },
    /// Lift a restriction.
    Lift {
        /// Its id.
        id: String,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum AccessReply {
    /// Sessions of this node.
    Sessions(Listed),
    /// The sessions end.
    EndSessions(Reached),
    /// The sessions are looked at.
    CheckSessions(Reached),
    /// Access is restricted.
    Restrict {
        /// The restriction.
        restriction: Restricted,
        /// Whom it has reached.
        reached: Reached,
    },
    /// Restrictions by id.
    List {
        /// One entry for each.
        restrictions: Vec<Restricted>,
    },
    /// The restriction is lifted.
    Lift(Reached),
}

/// Whom a command means; see [`Selection`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// A pattern of document names.
    pub document: Option<String>,
    /// An identity.
    pub subject: Option<String>,
    /// The id of a token.
    pub token_id: Option<String>,
}

/// A restriction to make; see [`NewRestriction`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Whom it concerns.
    pub on: Whom,
    /// `none`, `read` or `comment`.
    pub right_max: String,
    /// How long it lasts.
    pub for_ms: Option<u64>,
    /// Who comes with a token that is issued from now on is not concerned.
    pub old_tokens_only: bool,
    /// Why.
    pub reason: String,
}

/// A line of `driftless access list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restricted {
    /// Its id.
    pub id: String,
    /// Whom it concerns.
    pub on: Whom,
    /// The most they may do.
    pub right_max: String,
    /// When it was made, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it runs out.
    pub until_ms: Option<u64>,
    /// Tokens issued then or later are not concerned.
    pub issued_before_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// A line of `driftless session list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its document.
    pub document: String,
    /// The verified identity, if there is one.
    pub subject: Option<String>,
    /// The id of its token, if it has one.
    pub token_id: Option<String>,
    /// What it may do now.
    pub right: String,
    /// The door it came through.
    pub door: String,
    /// Its address.
    pub peer: String,
    /// When it came, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Sessions that were selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The first of them.
    pub sessions: Vec<Session>,
    /// How many there are.
    pub total: u64,
}

/// Whom a change has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Sessions of the node that was asked.
    pub sessions: u64,
    /// Whether other nodes follow.
    pub nodes: OtherNodes,
}

/// See [`Nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherNodes {
    /// There are none.
    Alone,
    /// They were told.
    Told,
    /// They follow by polling the store.
    Later,
    /// They were not told.
    Untold,
}

impl From<Whom> for Selection {
    fn from(whom: Whom) -> Self {
        Self {
            document: whom.document,
            subject: whom.subject,
            token_id: whom.token_id,
        }
    }
}

impl From<Selection> for Whom {
    fn from(selection: Selection) -> Self {
        Self {
            document: selection.document,
            subject: selection.subject,
            token_id: selection.token_id,
        }
    }
}

impl TryFrom<Wanted> for NewRestriction {
    type Error = OperationError;

    fn try_from(wanted: Wanted) -> Result<Self, OperationError> {
        let right_max = wanted.right_max.parse();
        Ok(Self {
            on: wanted.on.into(),
            right_max: right_max.map_err(|_| {
                OperationError::Refused("access is restricted to none, read or comment".to_owned())
            })?,
            for_ms: wanted.for_ms,
            old_tokens_only: wanted.old_tokens_only,
            reason: wanted.reason,
        })
    }
}

impl From<Restriction> for Restricted {
    fn from(restriction: Restriction) -> Self {
        Self {
            id: restriction.id,
            on: restriction.on.into(),
            right_max: restriction.right_max.as_str().to_owned(),
            since_ms: restriction.since_ms,
            until_ms: restriction.until_ms,
            issued_before_ms: restriction.issued_before_ms,
            reason: restriction.reason,
        }
    }
}

impl From<LiveSession> for Session {
    fn from(session: LiveSession) -> Self {
        let (door, peer) = session.door.split_once(' ').unwrap_or((&session.door, ""));
        let text = |part: Option<std::sync::Arc<str>>| part.as_deref().map(str::to_owned);
        let right = match session.rights {
            Rights::Read => "read",
            Rights::Comment => "comment",
            Rights::Write => "write",
            Rights::Admin => "admin",
            Rights::Relay => "relay",
        };
        Self {
            document: session.document.as_str().to_owned(),
            right: right.to_owned(),
            door: door.to_owned(),
            peer: peer.to_owned(),
            since_ms: session.since_ms,
            subject: text(session.holder.subject),
            token_id: text(session.holder.token_id),
        }
    }
}

impl From<Sessions> for Listed {
    fn from(found: Sessions) -> Self {
        Self {
            sessions: found.sessions.into_iter().map(Into::into).collect(),
            total: found.total as u64,
        }
    }
}

impl From<Effect> for Reached {
    fn from(effect: Effect) -> Self {
        Self {
            sessions: effect.sessions as u64,
            nodes: match effect.nodes {
                Nodes::Alone => OtherNodes::Alone,
                Nodes::Told => OtherNodes::Told,
                Nodes::Later => OtherNodes::Later,
                Nodes::Untold => OtherNodes::Untold,
            },
        }
    }
}
