//! Commands about sessions and restrictions, over a real socket.

use driftless_proto::engine::Rights;

use super::*;
use crate::access::{Restriction, Selection};
use crate::actors::LiveSession;
use crate::admin::access::wire::{
    AccessCommand, AccessReply, Listed, OtherNodes, Reached, Restricted, Session, Wanted, Whom,
};
use crate::admin::access::{Effect, NewRestriction, Nodes, Sessions};
use crate::auth::Right;
use crate::session::Holder;

fn restriction() -> Restriction {
    Restriction {
        id: "4h1k".into(),
        on: Selection {
            document: Some("team/*".into()),
            subject: None,
            token_id: Some("t".into()),
        },
        right_max: Right::Read,
        since_ms: 1,
        until_ms: Some(2),
        issued_before_ms: Some(1),
        reason: "why".into(),
    }
}

const EFFECT: Effect = Effect {
    sessions: 3,
    nodes: Nodes::Later,
};

impl AccessOperations for Recorder {
    fn sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Sessions> {
        let session = LiveSession {
            document: name("a"),
            holder: Holder {
                subject: Some("ada".into()),
                token_id: None,
                issued_at_ms: None,
            },
            rights: Rights::Comment,
            door: "hocuspocus [::1]:9".into(),
            since_ms: 5,
        };
        let found = Sessions {
            sessions: vec![session],
            total: 7,
        };
        self.note(format!("sessions {:?}", selection.subject), Ok(found))
    }
    fn end_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        self.note(format!("end {:?}", selection.document), Ok(EFFECT))
    }
    fn check_sessions<'a>(&'a self, selection: &'a Selection) -> OperationFuture<'a, Effect> {
        self.note(format!("check {:?}", selection.token_id), Ok(EFFECT))
    }
    fn restrict(&self, new: NewRestriction) -> OperationFuture<'_, (Restriction, Effect)> {
        let asked = format!("restrict {} {:?}", new.right_max, new.for_ms);
        self.note(asked, Ok((restriction(), EFFECT)))
    }
    fn restrictions<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> OperationFuture<'a, Vec<Restriction>> {
        self.note(
            format!("restrictions {after:?} {limit}"),
            Ok(vec![restriction()]),
        )
    }
    fn lift<'a>(&'a self, id: &'a str) -> OperationFuture<'a, Effect> {
        self.note(format!("lift {id}"), Err(OperationError::NoRestriction))
    }
}

#[tokio::test]
async fn commands_about_access_reach_the_operations_and_back() {
    let running = Running::start();
    let whom = Whom {
        document: Some("team/*".into()),
        subject: Some("ada".into()),
        token_id: Some("t".into()),
    };
    let reached = Reached {
        sessions: 3,
        nodes: OtherNodes::Later,
    };
    let session = Session {
        document: "a".into(),
        subject: Some("ada".into()),
        token_id: None,
        right: "comment".into(),
        door: "hocuspocus".into(),
        peer: "[::1]:9".into(),
        since_ms: 5,
    };
    let wanted = Wanted {
        on: whom.clone(),
        right_max: "read".into(),
        for_ms: Some(9),
        old_tokens_only: true,
        reason: "why".into(),
    };
    let restricted = Restricted::from(restriction());
    let table = [
        (
            AccessCommand::Sessions { whom: whom.clone() },
            AccessReply::Sessions(Listed {
                sessions: vec![session],
                total: 7,
            }),
        ),
        (
            AccessCommand::EndSessions { whom: whom.clone() },
            AccessReply::EndSessions(reached),
        ),
        (
            AccessCommand::CheckSessions { whom },
            AccessReply::CheckSessions(reached),
        ),
        (
            AccessCommand::Restrict {
                wanted: wanted.clone(),
            },
            AccessReply::Restrict {
                restriction: restricted.clone(),
                reached,
            },
        ),
        (
            AccessCommand::List {
                after: Some("3".into()),
                limit: 0,
            },
            AccessReply::List {
                restrictions: vec![restricted],
            },
        ),
    ];
    for (command, wanted) in table {
        let (reply, _) = running.call(Command::Access(command), b"").await.unwrap();
        assert_eq!(reply, Reply::Access(wanted));
    }
    let lift = Command::Access(AccessCommand::Lift { id: "x".into() });
    let error = running.call(lift, b"").await.unwrap_err();
    let missing = OperationError::NoRestriction;
    assert!(matches!(error, CallError::Operation(error) if error == missing));
    let wild = Command::Access(AccessCommand::Restrict {
        wanted: Wanted {
            right_max: "write!".into(),
            ..wanted
        },
    });
    assert!(running.call(wild, b"").await.is_err());
    let asked = running.stop().await;
    assert_eq!(
        asked,
        [
            "sessions Some(\"ada\")",
            "end Some(\"team/*\")",
            "check Some(\"t\")",
            "restrict read Some(9)",
            "restrictions Some(\"3\") 1",
            "lift x",
        ]
    );
}
