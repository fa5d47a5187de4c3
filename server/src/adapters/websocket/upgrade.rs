//! From an HTTP request that wants a WebSocket to a running socket, or to a refusal with a reason.
//!
//! What a browser can learn decides how a peer is refused. Scripts never see the status of a failed
//! handshake, and their clients try again for ever; so whatever is wrong with the *document* is told
//! after the handshake, by a close code that clients stop on. Only what concerns the *connection*
//! (origin, limits, a broken handshake) is answered by HTTP.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::body::BodySize;
use actix_http::error::DispatchError;
use actix_http::h1::{Codec, Message};
use actix_http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use actix_http::{ConnectionType, Request, RequestHead, Response, StatusCode, ws};
use bytes::Bytes;

use super::socket::Socket;
use super::{Conversation, SocketContext};
use crate::adapters::access::Opening;
use crate::adapters::address::address;
use crate::adapters::connections::{Connection, TooMany};
use crate::adapters::http::{DoorSign, RETRY_AFTER_SECONDS, set_plain_text};
use crate::adapters::origin::ForeignPage;
use crate::adapters::{Door, Edge, Movable, Running, credentials};
use crate::metrics;
use crate::outbox::Outbox;

/// A door at which conversations of this kind are held.
pub(in crate::adapters) fn door<I, C>(sign: DoorSign, edge: &Arc<Edge>) -> Door<I>
where
    I: Movable,
    C: Conversation,
{
    let edge = edge.clone();
    let context = SocketContext::new::<C>(&edge.options, edge.clock);
    let upgrade = move |request: &Request, framed: Framed<I, Codec>, rest: &str| -> Running {
        let head = request.head();
        let (mut connection, outbox, response) = match prepare(&edge, head) {
            Ok(prepared) => prepared,
            Err(answer) => return refuse(framed, answer),
        };
        // Its place first: nobody is asked about a connection that is not taken.
        let place = connection.wait();
        let conversation = C::begin(Opening {
            edge: edge.clone(),
            outbox: outbox.clone(),
            peer: head.peer_addr,
            door: C::NAME,
            rest: rest.to_owned(),
            token: credentials::token(head),
            may_ask: place.is_ok(),
        });
        match (conversation.home(), place) {
            // Whose token came with the request and was judged at once does not wait.
            (Some(_), _) => connection.authenticated(),
            (None, Ok(())) => {}
            (None, Err(too_many)) => return refuse(framed, too_many.into()),
        }
        let Ok(stream) = switch(framed, response) else {
            // Only an answer that cannot be encoded comes here: there is nothing to tell the peer.
            return Box::pin(async {});
        };
        let Stream { io, unsent, unread } = stream;
        let context = context.clone();
        let socket = Socket::<I, C>::new(
            io,
            context,
            conversation,
            outbox,
            connection,
            unsent,
            &unread,
        );
        Box::pin(socket.serve())
    };
    Door {
        matches: sign.matches,
        sign: Some(sign),
        upgrade: Box::new(upgrade),
    }
}

/// Answers a request for a WebSocket at a path that has none.
pub(in crate::adapters) fn turn_away<I>(framed: Framed<I, Codec>, text: String) -> Running
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    refuse(framed, Answer::new(StatusCode::NOT_FOUND, "path", text))
}

fn refuse<I>(framed: Framed<I, Codec>, answer: Answer) -> Running
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    metrics::connection_refused(answer.reason);
    Box::pin(async move {
        // The peer may have left already; then nobody wants the answer.
        let _ = respond(framed, answer).await;
    })
}

type Prepared = (Connection, Arc<Outbox>, Response<()>);

/// Checks everything about the connection, in the order of cost, and counts it in.
fn prepare(edge: &Edge, head: &RequestHead) -> Result<Prepared, Answer> {
    let mut response = ws::handshake(head).map_err(Answer::bad_handshake)?;
    if let Some(protocol) = credentials::chosen_protocol(head) {
        response.insert_header((SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    edge.own_pages().admit_socket(head)?;
    let outbox = Outbox::new(edge.options.outbox_bytes_max);
    let connection = edge
        .connections
        .enter(address(head.peer_addr), outbox.clone())?;
    let response = response.message_body(()).map_err(|_| Answer::failed())?;
    Ok((connection, outbox, response))
}

/// A stream that HTTP has let go of.
struct Stream<I> {
    io: I,
    /// The encoded answer to the handshake; it leaves with the first frames.
    unsent: Bytes,
    /// What the peer sent behind its request.
    unread: Bytes,
}

fn switch<I>(mut framed: Framed<I, Codec>, response: Response<()>) -> std::io::Result<Stream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    Pin::new(&mut framed).write(Message::Item((response, BodySize::None)))?;
    let parts = framed.into_parts();
    Ok(Stream {
        io: parts.io,
        unsent: parts.write_buf.freeze(),
        unread: parts.read_buf.freeze(),
    })
}

/// An answer by HTTP instead of an upgrade.
struct Answer {
    response: Response<()>,
    /// The label of the metric.
    reason: &'static str,
    text: String,
}

impl Answer {
    fn new(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        Self {
            response: Response::new(status).drop_body(),
            reason,
            text: text.into(),
        }
    }

    fn bad_handshake(error: ws::HandshakeError) -> Self {
        let response: Response<_> = error.into();
        let text = format!("this is no WebSocket handshake: {error}\n");
        Self {
            response: response.drop_body(),
            reason: "handshake",
            text,
        }
    }

    fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "the handshake failed here\n",
        )
    }
}

impl From<ForeignPage> for Answer {
    fn from(foreign: ForeignPage) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ForeignPage::REASON,
            format!("{foreign}\n"),
        )
    }
}

impl From<TooMany> for Answer {
    fn from(too_many: TooMany) -> Self {
        let (status, reason) = match too_many {
            TooMany::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            TooMany::Total => (StatusCode::SERVICE_UNAVAILABLE, "connections_max"),
            TooMany::FromAddress => (StatusCode::TOO_MANY_REQUESTS, "connections_per_address_max"),
            TooMany::Unauthenticated => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unauthenticated_connections_max",
            ),
            TooMany::UnauthenticatedFromAddress => (
                StatusCode::TOO_MANY_REQUESTS,
                "unauthenticated_connections_per_address_max",
            ),
        };
        let mut answer = Self::new(status, reason, too_many.to_string());
        answer
            .response
            .headers_mut()
            .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        answer
    }
}

/// What the codec of HTTP/1.1 encodes.
type Outgoing = Message<(Response<()>, BodySize)>;

/// Answers and ends the connection: what follows a refused upgrade may be frames, not requests.
async fn respond<I>(mut framed: Framed<I, Codec>, answer: Answer) -> Result<(), DispatchError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let Answer {
        mut response, text, ..
    } = answer;
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    set_plain_text(response.headers_mut());
    let body = Bytes::from(text);
    let size = BodySize::Sized(body.len() as u64);
    let mut framed = Pin::new(&mut framed);
    framed.as_mut().write(Message::Item((response, size)))?;
    framed.as_mut().write(Message::Chunk(Some(body)))?;
    framed.as_mut().write(Message::Chunk(None))?;
    poll_fn(|cx| framed.as_mut().flush::<Outgoing>(cx)).await?;
    poll_fn(|cx| framed.as_mut().close::<Outgoing>(cx)).await?;
    Ok(())
}
