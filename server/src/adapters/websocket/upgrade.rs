//! From an HTTP request that wants a WebSocket to a running socket, or to a refusal with a reason.
//!
//! What a browser can learn decides how a peer is refused. Scripts never see the status of a failed
//! handshake, and their clients try again for ever; so whatever is wrong with the *document* is told
//! after the handshake, by a close code that clients stop on. Only what concerns the *connection*
//! (origin, limits, a broken handshake) is answered by HTTP.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::body::BodySize;
use actix_http::error::DispatchError;
use actix_http::h1::{Codec, Message};
use actix_http::header::{
    HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL,
};
use actix_http::{ConnectionType, Request, RequestHead, Response, StatusCode, ws};
use bytes::Bytes;
use driftless_proto::name::DocumentName;

use super::socket::Socket;
use super::{Dialect, SocketContext, encode_frame};
use crate::adapters::connections::{Connection, TooMany};
use crate::adapters::http::set_plain_text;
use crate::adapters::{Door, Edge, Movable, Running, origin};
use crate::error::Refusal;
use crate::metrics;
use crate::outbox::Outbox;
use crate::session::{AttachRequest, SessionHandle};
use crate::store::Origin;

/// Seconds after which a client that was turned away for want of room may try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// A door at which this dialect is spoken; the document's name is the raw path behind the prefix.
///
/// The socket's task runs on the thread of its document; a peer that is refused stays on the thread
/// that accepted it.
pub(in crate::adapters) fn door<I, D>(path_prefix: &'static str, edge: &Arc<Edge>) -> Door<I>
where
    I: Movable,
    D: Dialect + Unpin,
    D::Messages: Unpin,
{
    let edge = edge.clone();
    let context = SocketContext::new::<D>(&edge.options, edge.clock);
    let upgrade = move |request: &Request, framed: Framed<I, Codec>| -> Running {
        let head = request.head();
        let (connection, outbox, response) = match prepare(&edge, head) {
            Ok(prepared) => prepared,
            Err(answer) => return refuse(framed, answer),
        };
        let Ok(stream) = switch(framed, response) else {
            // Only an answer that cannot be encoded comes here: there is nothing to tell the peer.
            return Box::pin(async {});
        };
        let raw_name = head
            .uri
            .path()
            .strip_prefix(path_prefix)
            .unwrap_or_default();
        let attached = attach::<D>(&edge, head, raw_name, outbox.clone());
        let Stream { io, unsent, unread } = stream;
        let context = context.clone();
        match attached {
            Err(refusal) => {
                let mut socket =
                    Socket::<I, D>::new(io, context, outbox, connection, unsent, &unread);
                socket.refuse(&refusal);
                Box::pin(socket)
            }
            Ok(session) => {
                // A stream that cannot be moved is broken: it is closed here, and the session with
                // it.
                if let Ok(mut moving) = Moving::depart(io, &outbox) {
                    session.serve_beside(Box::new(move |session| {
                        let Some(io) = moving.arrive() else {
                            return Box::pin(async {});
                        };
                        let mut socket =
                            Socket::<I, D>::new(io, context, outbox, connection, unsent, &unread);
                        socket.attach(session);
                        Box::pin(socket)
                    }));
                }
                Box::pin(async {})
            }
        }
    };
    Door {
        path_prefix,
        dialect: D::NAME,
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
    if let Some(protocol) = first_protocol(head) {
        response.insert_header((SEC_WEBSOCKET_PROTOCOL, protocol));
    }
    let header = |name: HeaderName| head.headers().get(name).map(|value| value.to_str());
    let page = header(ORIGIN).map(|value| value.unwrap_or("null"));
    let host = header(HOST).and_then(Result::ok);
    if !origin::is_allowed(page, host, &edge.options.allow_origins) {
        return Err(Answer::bad_origin());
    }
    let outbox = Outbox::new(edge.options.outbox_bytes_max);
    let connection = edge.connections.enter(address(head), outbox.clone())?;
    let response = response.message_body(()).map_err(|_| Answer::failed())?;
    Ok((connection, outbox, response))
}

/// The first subprotocol on offer. Browsers give up when they offered some and none is chosen, and
/// the reference server chooses the first; no dialect here depends on it.
fn first_protocol(head: &RequestHead) -> Option<HeaderValue> {
    let offered = head.headers().get(SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    let first = offered.split(|&byte| byte == b',').next()?.trim_ascii();
    if first.is_empty() {
        None
    } else {
        HeaderValue::from_bytes(first).ok()
    }
}

fn address(head: &RequestHead) -> IpAddr {
    head.peer_addr
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Finds the document and joins it.
fn attach<D: Dialect>(
    edge: &Edge,
    head: &RequestHead,
    raw_name: &str,
    outbox: Arc<Outbox>,
) -> Result<Box<dyn SessionHandle>, Refusal> {
    let document = DocumentName::from_raw_path(raw_name)?;
    let peer = head
        .peer_addr
        .map_or(String::new(), |peer| peer.to_string());
    let origin = Origin {
        identity: None,
        door: format!("{} {peer}", D::NAME),
    };
    let request = AttachRequest {
        document,
        encode: encode_frame::<D>,
        outbox,
        origin,
    };
    Ok(edge.documents.attach(request)?)
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

/// A stream between two threads, known to its outbox all the way.
struct Moving<I: Movable> {
    stream: Option<I::Moving>,
    outbox: Arc<Outbox>,
}

impl<I: Movable> Moving<I> {
    fn depart(io: I, outbox: &Arc<Outbox>) -> std::io::Result<Self> {
        let stream = io.depart()?;
        outbox.set_stream(Some(stream.as_raw_fd()));
        Ok(Self {
            stream: Some(stream),
            outbox: outbox.clone(),
        })
    }

    /// `None` when this thread cannot take it, which closes it.
    fn arrive(&mut self) -> Option<I> {
        self.outbox.set_stream(None);
        I::arrive(self.stream.take()?).ok()
    }
}

impl<I: Movable> Drop for Moving<I> {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.outbox.set_stream(None);
        }
    }
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

    fn bad_origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "origin",
            "pages of this origin may not connect; add the origin to the setting allow_origin \
             (flag --allow-origin)\n",
        )
    }

    fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            "the handshake failed here\n",
        )
    }
}

impl From<TooMany> for Answer {
    fn from(too_many: TooMany) -> Self {
        let (status, reason) = match too_many {
            TooMany::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            TooMany::Total => (StatusCode::SERVICE_UNAVAILABLE, "connections_max"),
            TooMany::FromAddress => (StatusCode::TOO_MANY_REQUESTS, "connections_per_address_max"),
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
