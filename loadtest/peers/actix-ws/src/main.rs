//! A relay without a CRDT on actix-ws, one worker: `actix-ws-relay PORT`. Like the bare relay it
//! answers every step 1 with an empty document; unlike it, each socket has actix-ws's own queue.

use std::cell::RefCell;
use std::collections::HashMap;

use actix_web::web::{Path, Payload, get};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{Message, Session};
use bytes::Bytes;
use futures_util::StreamExt;

/// y-websocket: sync, step 1.
const IS_STEP_1: [u8; 2] = [0, 0];
const STEP_1: Bytes = Bytes::from_static(&[0, 0, 1, 0]);
const STEP_2: Bytes = Bytes::from_static(&[0, 1, 2, 0, 0]);

/// The sessions of a room, by number.
type Room = HashMap<u64, Session>;

thread_local! {
    /// One worker serves all: no lock is needed.
    static ROOMS: RefCell<(u64, HashMap<String, Room>)> = RefCell::default();
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    HttpServer::new(|| App::new().route("/ws/{room}", get().to(open)))
        .workers(1)
        .backlog(8_192)
        .bind(("127.0.0.1", port.unwrap_or(8000)))?
        .run()
        .await
}

async fn open(
    request: HttpRequest,
    body: Payload,
    room: Path<String>,
) -> actix_web::Result<HttpResponse> {
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(serve(room.into_inner(), session, messages));
    Ok(response)
}

async fn serve(room: String, mut session: Session, mut messages: actix_ws::MessageStream) {
    let id = ROOMS.with_borrow_mut(|(next, rooms)| {
        *next += 1;
        let sessions = rooms.entry(room.clone()).or_default();
        sessions.insert(*next, session.clone());
        *next
    });
    while let Some(Ok(message)) = messages.next().await {
        match message {
            Message::Binary(frame) if frame.starts_with(&IS_STEP_1) => {
                if session.binary(STEP_1).await.is_err() || session.binary(STEP_2).await.is_err() {
                    break;
                }
            }
            Message::Binary(frame) => relay(&room, id, frame).await,
            Message::Close(_) => break,
            _ => {}
        }
    }
    ROOMS.with_borrow_mut(|(_, rooms)| rooms.get_mut(&room).map(|room| room.remove(&id)));
}

async fn relay(room: &str, from: u64, frame: Bytes) {
    let others: Vec<Session> = ROOMS.with_borrow(|(_, rooms)| {
        let sessions = rooms.get(room).into_iter().flatten();
        let others = sessions.filter(|(id, _)| **id != from);
        others.map(|(_, session)| session.clone()).collect()
    });
    for mut other in others {
        // It may have left meanwhile.
        let _ = other.binary(frame.clone()).await;
    }
}
