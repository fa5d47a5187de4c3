//! A session's right to be there: asked for, watched while it lasts, shown again.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use driftless_proto::engine::{CloseReason, Rights};
use driftless_proto::name::DocumentName;

use super::Edge;
use super::address::address;
use crate::auth::{Denial, Grant, Question, Right, Token};
use crate::metrics;
use crate::outbox::Outbox;
use crate::session::{Holder, SessionHandle};
use crate::store::Origin;

/// An answer that is on its way.
pub(super) type Deciding = Pin<Box<dyn Future<Output = Result<Grant, Denial>> + Send>>;

/// The least time after which the same is asked again.
const ASK_AGAIN_MS_MIN: u64 = 500;

/// What a connection brings with it.
pub(super) struct Opening {
    pub(super) edge: Arc<Edge>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) peer: Option<SocketAddr>,
    /// The dialect's name.
    pub(super) door: &'static str,
    /// What stands behind the door's prefix in the path.
    pub(super) rest: String,
    /// The token that came with the request, if one did.
    pub(super) token: Result<Option<Token>, Denial>,
    /// Whether the application may be asked about it.
    pub(super) may_ask: bool,
}

impl Opening {
    /// Asks whether this peer may use a document; anew: whatever was answered before now.
    pub(super) fn decide(
        &self,
        document: &DocumentName,
        token: Option<Token>,
        is_anew: bool,
    ) -> Deciding {
        let edge = self.edge.clone();
        let question = Question {
            document: document.clone(),
            token,
            address: self.address(),
            door: self.door,
        };
        if is_anew {
            // Now, not in its turn: nobody else is let in by what was answered before.
            edge.authority.doubt(&question);
        }
        let may_ask = self.may_ask;
        Box::pin(async move {
            // The semaphore is never closed; without a turn it would only be asked at once.
            let _turn = match is_anew {
                true => {
                    // Others are told to ask, too: who doubts the same is heard before it is asked once.
                    tokio::task::yield_now().await;
                    edge.regrants.acquire().await.ok()
                }
                false => None,
            };
            let grant = match may_ask {
                true => edge.authority.decide(&question).await?,
                // Without an answer there is no use for one: the connection is about to be refused.
                false => match edge.authority.decide_unasked(&question) {
                    Some(decided) => decided?,
                    None => std::future::pending().await,
                },
            };
            match edge.right_max(&question.document, &grant) {
                Right::None => {
                    metrics::auth_decided(Denial::Withdrawn.label(), question.door);
                    Err(Denial::Withdrawn)
                }
                _ => Ok(grant),
            }
        })
    }

    /// What a grant is worth on a document from now on.
    pub(super) fn permit(
        &self,
        document: &DocumentName,
        grant: Grant,
        token: Option<Token>,
    ) -> Permit {
        let edge = &self.edge;
        let right_max = edge.right_max(document, &grant);
        let now = (edge.clock.now_ms(), edge.clock.wall_ms());
        let permit = Permit::new(grant, token, now, edge.options.expiry_warning_ms);
        Permit {
            right_max,
            ..permit
        }
    }

    /// Takes a new grant for a session that is open.
    pub(super) fn renew(
        &self,
        document: &DocumentName,
        session: &dyn SessionHandle,
        permit: &mut Permit,
        grant: Grant,
    ) {
        let before = permit.rights();
        *permit = self.permit(document, grant, permit.token.take());
        session.set_holder(permit.holder());
        if permit.rights() != before {
            metrics::access_changed("renewed");
            session.set_rights(permit.rights());
        }
        self.restrict(document, session, permit);
    }

    /// Holds an open session to the restrictions that are in force. Whoever changes them looks for the
    /// sessions that they concern; so this comes after a session, or its holder, can be found.
    pub(super) fn restrict(
        &self,
        document: &DocumentName,
        session: &dyn SessionHandle,
        permit: &mut Permit,
    ) {
        let before = permit.rights();
        permit.right_max = self.edge.right_max(document, &permit.grant);
        let rights = permit.rights();
        if permit.right_max == Right::None {
            metrics::access_changed(Denial::Withdrawn.label());
            return session.end(CloseReason::Forbidden);
        }
        if rights != before {
            let cause = match rights < before {
                true => "restricted",
                false => "lifted",
            };
            metrics::access_changed(cause);
            session.set_rights(rights);
        }
    }

    /// Counts an attempt to join a document; false when too many came from this address.
    pub(super) fn may_join(&self) -> bool {
        self.edge.may_join(self.address())
    }

    /// Whose changes a session's will be.
    pub(super) fn origin(&self, grant: &Grant) -> Origin {
        let peer = self.peer.map_or(String::new(), |peer| peer.to_string());
        Origin {
            identity: grant.subject.as_deref().map(str::to_owned),
            door: format!("{} {peer}", self.door),
        }
    }

    fn address(&self) -> IpAddr {
        address(self.peer)
    }
}

/// What is due for a session because its access does not last for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// The peer is to be warned.
    Warning {
        /// Seconds that are left.
        seconds: u64,
    },
    /// Access has ended.
    Expired,
}

/// What becomes of a session whose access has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpiry {
    /// It ends.
    End,
    /// It may only read from then on.
    Read,
}

impl OnExpiry {
    /// Does so to a session.
    pub(super) fn perform(self, session: &dyn SessionHandle, permit: &mut Permit) {
        match self {
            Self::End => session.end(CloseReason::Unauthenticated),
            // It did so before, or never could more.
            Self::Read if permit.grant.right <= Right::Read => return,
            Self::Read => {
                permit.grant.right = Right::Read;
                session.set_rights(permit.rights());
            }
        }
        metrics::access_changed("expired");
    }
}

/// The access of one session, with what it was granted for.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) grant: Grant,
    /// What the peer showed, to be judged again.
    pub(super) token: Option<Token>,
    /// The most that restrictions leave of the grant.
    right_max: Right,
    /// By the monotonic clock; `u64::MAX` for never.
    expires_ms: u64,
    /// When the peer is warned; `u64::MAX` once it was.
    warns_ms: u64,
}

/// What a document allows who has this grant, of which restrictions leave so much.
pub(super) fn rights(grant: &Grant, right_max: Right) -> Rights {
    match grant.right.min(right_max) {
        Right::None | Right::Read => Rights::Read,
        Right::Comment => Rights::Comment,
        Right::Write | Right::Admin if grant.may_relay => Rights::Relay,
        Right::Write => Rights::Write,
        Right::Admin => Rights::Admin,
    }
}

impl Permit {
    /// From `now_ms` on, which is `wall_ms` by the wall clock; the peer is warned so long before.
    fn new(
        grant: Grant,
        token: Option<Token>,
        (now_ms, wall_ms): (u64, u64),
        warning_ms: u64,
    ) -> Self {
        let expires_ms = grant.expires_at_ms.map_or(u64::MAX, |at_ms| {
            now_ms.saturating_add(at_ms.saturating_sub(wall_ms))
        });
        let warns_ms = match expires_ms {
            u64::MAX => u64::MAX,
            expires_ms => expires_ms.saturating_sub(warning_ms).max(now_ms),
        };
        Self {
            grant,
            token,
            right_max: Right::Admin,
            expires_ms,
            warns_ms,
        }
    }

    /// What a document allows.
    pub(super) fn rights(&self) -> Rights {
        rights(&self.grant, self.right_max)
    }

    /// Whose session it is.
    pub(super) fn holder(&self) -> Holder {
        Holder {
            subject: self.grant.subject.clone(),
            token_id: self.grant.token_id.clone(),
            issued_at_ms: self.grant.issued_at_ms,
        }
    }

    /// When something is due.
    pub(super) fn deadline_ms(&self) -> u64 {
        self.expires_ms.min(self.warns_ms)
    }

    /// When a newer token is asked about again after nobody could say whether it is good: at half of the
    /// time that is left, and so on, until that is too short.
    pub(super) fn asks_again_ms(&self, now_ms: u64) -> Option<u64> {
        let half_ms = self.expires_ms.saturating_sub(now_ms) / 2;
        let has_end = self.expires_ms != u64::MAX;
        (has_end && half_ms >= ASK_AGAIN_MS_MIN).then(|| now_ms + half_ms)
    }

    /// What is due now. Each is said once.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Due {
        if now_ms >= self.expires_ms {
            (self.expires_ms, self.warns_ms) = (u64::MAX, u64::MAX);
            return Due::Expired;
        }
        if now_ms >= self.warns_ms {
            self.warns_ms = u64::MAX;
            let seconds = (self.expires_ms - now_ms).div_ceil(1_000);
            return Due::Warning { seconds };
        }
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(expires_at_ms: Option<u64>) -> Grant {
        Grant {
            subject: None,
            token_id: None,
            issued_at_ms: None,
            right: Right::Write,
            may_relay: false,
            expires_at_ms,
        }
    }

    #[test]
    fn a_session_is_warned_once_and_ends_once() {
        let mut permit = Permit::new(grant(Some(1_000_060)), None, (5, 1_000_000), 20);
        assert_eq!(permit.deadline_ms(), 45);
        assert_eq!(permit.take_due(44), Due::Nothing);
        assert_eq!(permit.take_due(45), Due::Warning { seconds: 1 });
        assert_eq!(permit.take_due(46), Due::Nothing);
        assert_eq!(permit.deadline_ms(), 65);
        assert_eq!(permit.take_due(65), Due::Expired);
        assert_eq!(permit.deadline_ms(), u64::MAX);
        assert_eq!(permit.take_due(u64::MAX - 1), Due::Nothing);
    }

    #[test]
    fn to_speak_for_others_takes_the_right_to_write() {
        let all = |right, may_relay| {
            let granted = Grant {
                right,
                may_relay,
                ..grant(None)
            };
            [Right::Admin, Right::Comment, Right::Read].map(|max| rights(&granted, max))
        };
        let (read, comment) = (Rights::Read, Rights::Comment);
        assert_eq!(all(Right::Write, false), [Rights::Write, comment, read]);
        assert_eq!(all(Right::Write, true), [Rights::Relay, comment, read]);
        assert_eq!(all(Right::Admin, false), [Rights::Admin, comment, read]);
        assert_eq!(all(Right::Admin, true), [Rights::Relay, comment, read]);
        assert_eq!(all(Right::Comment, true), [comment, comment, read]);
        assert_eq!(all(Right::Read, true), [read; 3]);
    }

    #[test]
    fn a_token_that_could_not_be_judged_is_asked_about_some_more_times_before_the_end() {
        let permit = Permit::new(grant(Some(1_030_000)), None, (0, 1_000_000), 30_000);
        let mut asked_ms = vec![0];
        while let Some(again_ms) = permit.asks_again_ms(asked_ms[asked_ms.len() - 1]) {
            asked_ms.push(again_ms);
        }
        assert_eq!(asked_ms, [0, 15_000, 22_500, 26_250, 28_125, 29_062]);
        assert_eq!(permit.asks_again_ms(30_000), None);
        let endless = Permit::new(grant(None), None, (0, 1_000_000), 30_000);
        assert_eq!(endless.asks_again_ms(0), None);
    }

    #[test]
    fn what_is_granted_without_an_end_never_ends() {
        let mut permit = Permit::new(grant(None), None, (5, 1_000_000), 20);
        assert_eq!(permit.deadline_ms(), u64::MAX);
        assert_eq!(permit.take_due(u64::MAX - 1), Due::Nothing);
    }

    #[test]
    fn what_expires_within_the_warning_is_warned_of_at_once() {
        let mut permit = Permit::new(grant(Some(1_000_060)), None, (5, 1_000_000), 30_000);
        assert_eq!(permit.take_due(5), Due::Warning { seconds: 1 });
    }
}
