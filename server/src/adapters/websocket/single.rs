//! A conversation about one document, which the path names and the request's token opens.

use std::collections::BTreeMap;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use driftless_proto::engine::{Access, Acks, CloseReason};
use driftless_proto::name::DocumentName;
use driftless_proto::wire::{Message, Notice, Outbound};

use super::{Conversation, Delivered, Dialect, Work, encode_frame};
use crate::adapters::access::{Deciding, Due, Opening, Permit};
use crate::auth::{Denial, Grant};
use crate::error::{Refusal, reason_of};
use crate::metrics;
use crate::outbox::{Line, LineId, Recheck};
use crate::session::{AttachRequest, Encoding, Ended, ReceiveError, SessionHandle};

/// The only session's number.
const ONLY: LineId = 0;

/// How far the conversation is.
enum Stage {
    /// Nobody knows yet whether the peer may use the document.
    Deciding { answer: Deciding, by_ms: u64 },
    /// It does.
    Attached(Box<dyn SessionHandle>),
    /// It may not, which it has to be told.
    Refused(Option<Refusal>),
}

/// A conversation about one document.
pub(in crate::adapters) struct Single<D: Dialect> {
    opening: Opening,
    document: Option<DocumentName>,
    stage: Stage,
    permit: Option<Permit>,
    /// The access is being looked at again.
    rechecking: Option<Deciding>,
    /// The rest of the frame that is being delivered.
    messages: Option<D::Messages>,
    /// The message that the document had no room for.
    undelivered: Option<Message>,
}

impl<D: Dialect> Single<D> {
    fn refused(opening: Opening, refusal: Refusal) -> Self {
        Self {
            opening,
            document: None,
            stage: Stage::Refused(Some(refusal)),
            permit: None,
            rechecking: None,
            messages: None,
            undelivered: None,
        }
    }

    /// Joins the document, or says why not.
    fn attach(&mut self, grant: Grant) -> Result<(), Refusal> {
        let Some(document) = self.document.clone() else {
            return Err(CloseReason::Malformed.into());
        };
        let token = self.opening.token.clone().ok().flatten();
        let mut permit = self.opening.permit(&document, grant, token);
        let session = self.opening.edge.documents.attach(AttachRequest {
            document: document.clone(),
            encoding: Encoding {
                write: encode_frame::<D>,
                address: Bytes::new(),
            },
            line: Line {
                outbox: self.opening.outbox.clone(),
                id: ONLY,
            },
            greeting: Bytes::new(),
            origin: self.opening.origin(&permit.grant),
            holder: permit.holder(),
            access: Access {
                rights: permit.rights(),
                acks: Acks::Probes,
            },
        })?;
        self.opening.restrict(&document, &*session, &mut permit);
        self.stage = Stage::Attached(session);
        self.permit = Some(permit);
        Ok(())
    }

    /// The answer to whether the peer may still be here.
    fn rechecked(&mut self, decided: Result<Grant, Denial>) {
        let (Stage::Attached(session), Some(document), Some(permit)) =
            (&self.stage, &self.document, &mut self.permit)
        else {
            return;
        };
        match decided {
            // Its changes would be another's: that takes a session of its own.
            Ok(grant) if grant.subject != permit.grant.subject => {
                metrics::access_changed(Denial::Refused.label());
                session.end(reason_of(Denial::Refused));
            }
            Ok(grant) => self.opening.renew(document, &**session, permit, grant),
            // Nobody could say: what was granted holds until its end.
            Err(denial) if denial.is_retryable() => {}
            Err(Denial::Expired) => {
                let on_expiry = self.opening.edge.options.on_expiry;
                on_expiry.perform(&**session, permit);
            }
            Err(denial) => {
                metrics::access_changed(denial.label());
                session.end(reason_of(denial));
            }
        }
    }

    /// Warns of an end to come, and ends what has expired.
    fn watch(&mut self, now_ms: u64) -> Work {
        let (Stage::Attached(session), Some(permit)) = (&self.stage, &mut self.permit) else {
            return Work::Nothing;
        };
        match permit.take_due(now_ms) {
            Due::Nothing => return Work::Nothing,
            Due::Warning { seconds } => session.notify(Notice::ExpiresSoon { seconds }),
            Due::Expired => self
                .opening
                .edge
                .options
                .on_expiry
                .perform(&**session, permit),
        }
        Work::Progress
    }

    fn poll_decision(&mut self, cx: &mut Context<'_>, now_ms: u64) -> Work {
        let Stage::Deciding { answer, by_ms } = &mut self.stage else {
            return Work::Nothing;
        };
        let decided = match answer.as_mut().poll(cx) {
            Poll::Pending if now_ms < *by_ms => return Work::Nothing,
            Poll::Pending => Err(CloseReason::Unavailable.into()),
            Poll::Ready(decided) => decided.map_err(Refusal::from),
        };
        match decided.and_then(|grant| self.attach(grant)) {
            Ok(()) => Work::Move,
            Err(refusal) => {
                self.stage = Stage::Refused(None);
                Work::Close(refusal)
            }
        }
    }
}

impl<D: Dialect> Conversation for Single<D> {
    const NAME: &'static str = D::NAME;
    const ANSWERS_WRITES: bool = D::ANSWERS_WRITES;
    const KEEPALIVE_MS_MAX: u64 = D::KEEPALIVE_MS_MAX;
    const PINGS_FIRST: bool = false;

    fn begin(opening: Opening) -> Self {
        let document = match D::document(&opening.rest) {
            Ok(document) => document,
            Err(error) => return Self::refused(opening, error.into()),
        };
        if !opening.may_join() {
            return Self::refused(opening, Refusal::too_many_joins());
        }
        let token = match opening.token.clone() {
            Ok(token) => token,
            Err(denial) => {
                metrics::auth_decided(denial.label(), D::NAME);
                return Self::refused(opening, denial.into());
            }
        };
        let answer = opening.decide(&document, token, false);
        let edge = &opening.edge;
        let by_ms = edge.clock.now_ms() + edge.options.unauthenticated_timeout_ms;
        let mut conversation = Self {
            document: Some(document),
            stage: Stage::Deciding { answer, by_ms },
            ..Self::refused(opening, CloseReason::Internal.into())
        };
        // Where nobody has to be asked, the answer is there at once.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Work::Close(refusal) = conversation.poll_decision(&mut cx, 0) {
            conversation.stage = Stage::Refused(Some(refusal));
        }
        conversation
    }

    fn home(&self) -> Option<&dyn SessionHandle> {
        match &self.stage {
            Stage::Attached(session) => Some(&**session),
            _ => None,
        }
    }

    fn is_listening(&self) -> bool {
        !matches!(self.stage, Stage::Refused(_))
    }

    fn ponged(&mut self, _: &[u8]) {}

    fn take(&mut self, frame: Bytes) {
        self.messages = Some(D::messages(frame));
    }

    fn deliver(&mut self, cx: &mut Context<'_>) -> Delivered {
        let session = match &mut self.stage {
            Stage::Deciding { .. } => return Delivered::Paused,
            Stage::Refused(_) => {
                (self.messages, self.undelivered) = (None, None);
                return Delivered::All;
            }
            Stage::Attached(session) => session,
        };
        loop {
            let message = match self.undelivered.take() {
                Some(message) => message,
                None => match self.messages.as_mut().and_then(Iterator::next) {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => {
                        let text = error.to_string().into();
                        return Delivered::Refused(Refusal {
                            text,
                            ..CloseReason::Malformed.into()
                        });
                    }
                    None => {
                        self.messages = None;
                        return Delivered::All;
                    }
                },
            };
            match session.try_receive(message) {
                Ok(()) => {}
                Err(ReceiveError::Ended) => return Delivered::Ended,
                Err(ReceiveError::Full(message)) => {
                    self.undelivered = Some(message);
                    match session.poll_room(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(Ended)) => return Delivered::Ended,
                        Poll::Pending => return Delivered::Paused,
                    }
                }
            }
        }
    }

    fn work(&mut self, cx: &mut Context<'_>, now_ms: u64) -> Work {
        match &mut self.stage {
            Stage::Deciding { .. } => return self.poll_decision(cx, now_ms),
            Stage::Refused(refusal) => return refusal.take().map_or(Work::Nothing, Work::Close),
            Stage::Attached(_) => {}
        }
        if let Some(rechecking) = &mut self.rechecking
            && let Poll::Ready(decided) = rechecking.as_mut().poll(cx)
        {
            self.rechecking = None;
            self.rechecked(decided);
        }
        self.watch(now_ms)
    }

    fn deadline_ms(&self) -> u64 {
        match &self.stage {
            Stage::Deciding { by_ms, .. } => *by_ms,
            _ => self.permit.as_ref().map_or(u64::MAX, Permit::deadline_ms),
        }
    }

    fn drained(&mut self, _: &[LineId]) {
        if let Stage::Attached(session) = &self.stage {
            session.drained();
        }
    }

    fn recheck(&mut self, lines: &BTreeMap<LineId, Recheck>) {
        let (Stage::Attached(session), Some(document), Some(permit)) =
            (&self.stage, &self.document, &mut self.permit)
        else {
            return;
        };
        match lines.get(&ONLY) {
            None => {}
            Some(Recheck::Restrictions) => self.opening.restrict(document, &**session, permit),
            Some(Recheck::Grant) => {
                // Restrictions wait for no answer.
                self.opening.restrict(document, &**session, permit);
                let token = permit.token.clone();
                self.rechecking = Some(self.opening.decide(document, token, true));
            }
        }
    }

    fn ended(&mut self, _: LineId, reason: CloseReason, _: &mut BytesMut) -> Option<Refusal> {
        // The session stays: what the peer sent before it reads the goodbye still counts.
        Some(reason.into())
    }

    fn leave(&mut self, clean: bool) {
        let stage = std::mem::replace(&mut self.stage, Stage::Refused(None));
        if let Stage::Attached(session) = stage
            && clean
        {
            session.detach(true);
        }
        (self.permit, self.rechecking) = (None, None);
    }

    fn keep_alive(&self, into: &mut BytesMut) {
        encode_frame::<D>(&[], &Outbound::KeepAlive, into);
    }

    fn farewell(&self, refusal: &Refusal, into: &mut BytesMut) -> u16 {
        if refusal.is_final() {
            let reason = refusal.text.clone().into_owned();
            encode_frame::<D>(&[], &Outbound::Denied { reason }, into);
        }
        refusal.close_code
    }
}
