//! What is asked about a channel, one thing at a time, and what becomes of the answers.
//!
//! ```text
//!  token ─▶ next ─▶ join or renewal counted ─▶ question ─▶ answer ─▶ open, renew, deny
//!             ▲                                  ▲                     │ nobody could say
//!             └──── again, before the end ───────┼─────────────────────┘
//!                           an operator's check ─┘ at once, past what waits
//! ```

use super::channel::{Shown, Stage};
use super::{Hocuspocus, RENEWAL_WAIT_MS, Tagged, codes};
use crate::auth::{Denial, Grant, Token};
use crate::outbox::{LineId, Recheck};

impl Hocuspocus {
    /// The peer shows a token. The newest counts: who shows many is judged by the last.
    pub(super) fn show(&mut self, line: LineId, token: Option<Token>) {
        if let Some(channel) = self.channels.get_mut(&line) {
            channel.next = Some(Shown { token, from_ms: 0 });
            self.ask_next(line);
        }
    }

    /// Asks about the token that waits, if it is its turn.
    pub(super) fn ask_next(&mut self, line: LineId) {
        let now_ms = self.opening.edge.clock.now_ms();
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        if now_ms < channel.asks_ms() {
            return;
        }
        let Some(shown) = channel.next.take() else {
            return;
        };
        if channel.is_open() {
            let renewals = self.renewals.as_mut();
            if renewals.is_some_and(|renewals| !renewals.try_take(now_ms)) {
                // It holds what it was granted, so it can wait.
                return self.ask_later(line, shown.token, now_ms + RENEWAL_WAIT_MS);
            }
        } else if !self.opening.may_join() {
            return self.refuse_line(line, codes::TOO_MANY_JOINS);
        }
        self.ask(line, shown.token, false);
    }

    fn ask_later(&mut self, line: LineId, token: Option<Token>, from_ms: u64) {
        if let Some(channel) = self.channels.get_mut(&line) {
            channel.next = Some(Shown { token, from_ms });
            self.deadline_ms = self.deadline_ms.min(from_ms);
        }
    }

    /// Asks whether the peer may use the channel's document. Another question under way is void.
    fn ask(&mut self, line: LineId, token: Option<Token>, is_recheck: bool) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        channel.asked += 1;
        channel.is_asking = true;
        channel.is_recheck = is_recheck;
        channel.token.clone_from(&token);
        let answer = self.opening.decide(&channel.document, token, is_recheck);
        self.deciding.push(Tagged {
            line,
            number: channel.asked,
            answer,
        });
    }

    /// An operator changed something about who may be here.
    pub(super) fn recheck_channel(&mut self, line: LineId, what: Recheck) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        let Stage::Open { session, permit } = &mut channel.stage else {
            return;
        };
        // Restrictions wait for no answer.
        self.opening.restrict(&channel.document, &**session, permit);
        if what == Recheck::Grant {
            let granted_for = permit.token.clone();
            if channel.is_asking && !channel.is_recheck && channel.next.is_none() {
                // A newer token is being asked about: again, once it is known whether this holds.
                let token = channel.token.take();
                channel.next = Some(Shown { token, from_ms: 0 });
            }
            self.ask(line, granted_for, true);
        }
    }

    /// The answer has come.
    pub(super) fn decided(&mut self, line: LineId, number: u64, decided: Result<Grant, Denial>) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        if channel.asked != number {
            return;
        }
        channel.is_asking = false;
        let is_recheck = std::mem::take(&mut channel.is_recheck);
        // A later token makes the answer to an earlier one void, but not that to an operator's check.
        if channel.next.is_none() || is_recheck {
            self.answered(line, is_recheck, decided);
        }
        self.ask_next(line);
    }

    fn answered(&mut self, line: LineId, is_recheck: bool, decided: Result<Grant, Denial>) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        let Stage::Open { session, permit } = &mut channel.stage else {
            return match decided {
                Ok(grant) => self.open(line, grant),
                Err(denial) => self.deny(line, denial),
            };
        };
        match decided {
            Ok(grant) => self.renew(line, grant),
            // Nobody could say: what was granted holds until its end.
            Err(denial) if denial.is_retryable() => {
                let now_ms = self.opening.edge.clock.now_ms();
                if !is_recheck && let Some(from_ms) = permit.asks_again_ms(now_ms) {
                    let token = channel.token.take();
                    self.ask_later(line, token, from_ms);
                }
            }
            Err(Denial::Expired) => {
                let on_expiry = self.opening.edge.options.on_expiry;
                on_expiry.perform(&**session, permit);
            }
            Err(denial) => {
                // Nor may a token that waits keep it here.
                channel.next = None;
                self.deny(line, denial);
            }
        }
    }

    /// An open channel showed a newer token, or was looked at again.
    fn renew(&mut self, line: LineId, grant: Grant) {
        let Some(channel) = self.channels.get_mut(&line) else {
            return;
        };
        let Stage::Open { session, permit } = &mut channel.stage else {
            return;
        };
        if grant.subject != permit.grant.subject {
            // Its changes would be another's: that takes a session of its own.
            return self.deny(line, Denial::Refused);
        }
        permit.token.clone_from(&channel.token);
        self.opening
            .renew(&channel.document, &**session, permit, grant);
        self.deadline_ms = self.deadline_ms.min(permit.deadline_ms());
    }
}
