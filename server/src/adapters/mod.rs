//! The doors: everything between a listening port and [`Documents`].
//!
//! Requests that ask for a WebSocket are matched by the raw prefix of their path and leave HTTP for
//! good; all others are answered by an actix-web `App`. A new door is a file here and a line in
//! [`doors`]. Why the WebSocket layer is the project's own: `docs/adr/0001-websocket-layer.md`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::{AsyncRead, AsyncWrite, Framed};
use actix_http::error::DispatchError;
use actix_http::h1::Codec;
use actix_http::{HttpService, Protocol, Request};
use actix_server::{GracefulShutdownSignal, ServerBuilder, ServerHandle};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::App;
use actix_web::dev::AppConfig;
use driftless_proto::name::DocumentName;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use self::connections::Connections;
use self::hocuspocus::Hocuspocus;
use self::http::{DoorSign, DoorSigns, HTTP_CONNECTIONS_MAX, HttpRoom, HttpStream, Readiness};
use self::joins::Joins;
use self::proxy_protocol::Entrance;
use self::tls::TlsStream;
use self::websocket::{Single, door};
use self::ysweet::{Calls, YSweet};
use self::ywebsocket::YWebSocket;
use crate::access::{Restrictions, Visitor};
use crate::admin::operations::DocumentOperations;
use crate::auth::{Authority, Grant, Right, Signer};
use crate::clock::Clock;
use crate::metrics;
use crate::session::Documents;

pub mod access;
mod address;
mod connections;
mod credentials;
mod hocuspocus;
pub mod http;
mod joins;
mod limits;
mod options;
mod origin;
mod proxy_protocol;
pub mod tls;
mod websocket;
mod ysweet;
mod ywebsocket;

pub use self::limits::Limits;
pub use self::options::AdapterOptions;
pub use self::websocket::Dialect;

/// Connections the kernel accepts ahead of us. After a restart all clients come at once, and one
/// that finds this queue full waits a second for its next attempt. The kernel cuts it to its own
/// bound (`net.core.somaxconn`).
const LISTEN_BACKLOG: u32 = 8_192;
/// How long a peer that was answered before its body had come may go on sending it, so that it hears
/// the answer and not that the connection broke.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection of plain HTTP may be silent between two requests; then the time of a head
/// begins.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections that were cut may take to notice.
const SEVERED_TIMEOUT: Duration = Duration::from_secs(1);
/// Of the time for a graceful stop, goodbyes are spread over at most this share.
const GOODBYE_SHARE: u64 = 3;

/// Live sessions whose access is granted anew at a time; the others wait. Half of what the application's
/// hook is asked at a time, so that those who join are not behind all of them.
const REGRANTS_MAX: usize = 32;

/// What the doors lead to.
#[derive(Clone)]
pub struct Behind {
    /// All documents.
    pub documents: Arc<dyn Documents>,
    /// Who may use them.
    pub authority: Authority,
    /// What was taken back of what they grant.
    pub restrictions: Restrictions,
    /// What is done with documents by calls over HTTP; without it there are none.
    pub operations: Option<Arc<dyn DocumentOperations>>,
    /// Signs the tokens that calls hand out, if there is a key.
    pub signer: Option<Signer>,
    /// What `/readyz` says.
    pub readiness: Arc<dyn Readiness>,
    /// What `/metrics` says, if metrics are recorded. Whoever installed the recorder runs its
    /// upkeep.
    pub metrics: Option<PrometheusHandle>,
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Behind").finish_non_exhaustive()
    }
}

/// What all doors share.
struct Edge {
    options: AdapterOptions,
    clock: Clock,
    documents: Arc<dyn Documents>,
    authority: Authority,
    restrictions: Restrictions,
    /// Turns of live sessions whose access is granted anew.
    regrants: Semaphore,
    connections: Arc<Connections>,
    /// What plain HTTP may take.
    room: Arc<HttpRoom>,
    joins: Joins,
}

impl Edge {
    /// Counts an attempt to join a document; false when too many came from this address.
    fn may_join(&self, from: IpAddr) -> bool {
        let may = self.joins.take(from, self.clock.now_ms());
        if !may {
            metrics::refused("joins_per_second");
        }
        may
    }

    /// The most that a grant gives on a document at this moment.
    fn right_max(&self, document: &DocumentName, grant: &Grant) -> Right {
        let visitor = Visitor {
            document: document.as_str(),
            subject: grant.subject.as_deref(),
            token_id: grant.token_id.as_deref(),
            issued_at_ms: grant.issued_at_ms,
        };
        let restrictions = self.restrictions.current();
        restrictions.right_max(&visitor, self.clock.wall_ms())
    }
}

/// A connection that left HTTP; done when it is closed.
type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A stream that can leave the thread it was accepted on.
trait Movable: AsyncRead + AsyncWrite + AsRawFd + Send + Unpin + Sized + 'static {
    /// What is written to its descriptor is what the peer reads: nothing encrypts in between.
    const IS_PLAIN: bool;

    /// It between two threads.
    type Moving: AsRawFd + Send;

    /// Takes it off this thread's event loop.
    fn depart(self) -> io::Result<Self::Moving>;

    /// Puts it on this thread's event loop.
    fn arrive(moving: Self::Moving) -> io::Result<Self>;

    /// Has the kernel acknowledge now what was read, and not along with an answer to come.
    fn acknowledge(&self);
}

impl Movable for TcpStream {
    const IS_PLAIN: bool = true;
    type Moving = std::net::TcpStream;

    fn depart(self) -> io::Result<Self::Moving> {
        self.into_std()
    }

    fn arrive(moving: Self::Moving) -> io::Result<Self> {
        Self::from_std(moving)
    }

    fn acknowledge(&self) {
        // Only a wish, and only Linux knows it.
        #[cfg(target_os = "linux")]
        let _ = self.set_quickack(true);
    }
}

/// Whether a path is a door's, and what is left of it then.
type Matches = fn(&str) -> Option<&str>;

/// Takes a stream out of HTTP; given what is left of the path.
type Upgrade<I> = Box<dyn Fn(&Request, Framed<I, Codec>, &str) -> Running>;

/// A place where WebSockets are opened.
struct Door<I> {
    matches: Matches,
    /// Shown to who comes without a WebSocket.
    sign: Option<DoorSign>,
    upgrade: Upgrade<I>,
}

/// All doors, one line each; the first that matches is taken.
fn doors<I: Movable>(edge: &Arc<Edge>) -> Vec<Door<I>> {
    let mut doors = vec![
        door::<I, Single<YWebSocket>>(ywebsocket::SIGN, edge),
        door::<I, Single<YSweet>>(ysweet::SIGN, edge),
        door::<I, Hocuspocus>(hocuspocus::SIGN, edge),
    ];
    if edge.options.hocuspocus_at_root {
        doors.push(Door {
            matches: hocuspocus::matches_all,
            sign: None,
            ..door::<I, Hocuspocus>(hocuspocus::SIGN, edge)
        });
    }
    doors
}

/// The listening server. Dropping it cuts all connections; [`Server::stop`] ends them in order.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
    connections: Arc<Connections>,
    /// Looks for a new certificate.
    watch: Option<JoinHandle<()>>,
    drain_ms: u64,
    goodbye_ms_max: u64,
    shutdown_timeout: Duration,
}

/// Starts to listen, and to serve on threads of its own. Must be called inside a tokio runtime, and
/// after the recorder of metrics was installed.
pub fn serve(options: AdapterOptions, behind: Behind, clock: Clock) -> io::Result<Server> {
    let connections = Connections::new(&options);
    let listener = listen(options.listen)?;
    let address = listener.local_addr()?;
    let goodbye_ms_max = options.shutdown_timeout_ms / GOODBYE_SHARE;
    let drain_ms = options.drain_ms;
    let shutdown_timeout = Duration::from_millis(options.shutdown_timeout_ms + drain_ms);
    let look_every = Duration::from_millis(options.tls_look_every_ms);
    let tls = options.tls.clone();
    let edge = Arc::new(Edge {
        clock,
        documents: behind.documents.clone(),
        authority: behind.authority.clone(),
        restrictions: behind.restrictions.clone(),
        regrants: Semaphore::new(REGRANTS_MAX),
        connections: connections.clone(),
        room: HttpRoom::new(),
        joins: Joins::new(options.limits.joins_per_second_max),
        options,
    });
    let server = start(listener, &edge, behind)?;
    let handle = server.handle();
    let task = tokio::spawn(server);
    let watch = tls.map(|tls| tokio::spawn(tls::watch(tls, look_every)));
    Ok(Server {
        address,
        handle,
        task,
        connections,
        watch,
        drain_ms,
        goodbye_ms_max,
        shutdown_timeout,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restarted server takes its port back at once, whatever connections of the old one linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

fn start(
    listener: TcpListener,
    edge: &Arc<Edge>,
    behind: Behind,
) -> io::Result<actix_server::Server> {
    let options = &edge.options;
    let builder = ServerBuilder::new()
        .workers(options.workers)
        .max_concurrent_connections(options.connections_max + HTTP_CONNECTIONS_MAX)
        .shutdown_timeout((options.shutdown_timeout_ms + options.drain_ms).div_ceil(1_000))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let timeout = Duration::from_millis(options.handshake_timeout_ms);
    let entrance = Arc::new(Entrance {
        balancers: options.proxy_protocol_from.clone(),
        timeout,
        stopping: stopping.clone(),
    });
    let listener = listener.into_std()?;
    let tls = options.tls.clone();
    let frame_timeout_ms = options.limits.frame_timeout_ms;
    let edge = edge.clone();
    let builder = match tls {
        None => builder.listen("doors", listener, move || {
            let entrance = entrance.clone();
            let admit = move |stream: TcpStream| {
                let entrance = entrance.clone();
                async move { entrance.admit(stream).await }
            };
            fn_service(admit)
                .map(move |admitted| counted(admitted, frame_timeout_ms))
                .and_then(http_service::<TcpStream>(&edge, &behind, &stopping))
        }),
        Some(tls) => builder.listen("doors", listener, move || {
            let way = (entrance.clone(), tls.clone(), stopping.clone());
            let admit = move |stream: TcpStream| {
                let (entrance, tls, stopping) = way.clone();
                async move {
                    let (stream, protocol, peer) = entrance.admit(stream).await?;
                    let handshake = tls.admit(stream, peer, timeout, &stopping);
                    // Boxed: what it needs is given back when it is done.
                    Ok((Box::pin(handshake).await?, protocol, peer))
                }
            };
            fn_service(admit)
                .map(move |admitted| counted(admitted, frame_timeout_ms))
                .and_then(http_service::<TlsStream>(&edge, &behind, &stopping))
        }),
    };
    Ok(builder?.run())
}

/// A stream, how HTTP is spoken over it, and with whom.
type Admitted<I> = (I, Protocol, Option<SocketAddr>);

/// Bounds what a connection takes of plain HTTP.
fn counted<I>((stream, protocol, peer): Admitted<I>, timeout_ms: u64) -> Admitted<HttpStream<I>> {
    (HttpStream::new(stream, timeout_ms), protocol, peer)
}

/// HTTP over one kind of stream, and the doors that WebSockets leave it by.
fn http_service<I: Movable>(
    edge: &Arc<Edge>,
    behind: &Behind,
    stopping: &GracefulShutdownSignal,
) -> impl ServiceFactory<
    Admitted<HttpStream<I>>,
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
> + use<I> {
    let doors = doors::<I>(edge);
    let signs = DoorSigns(doors.iter().filter_map(|door| door.sign).collect());
    let calls = calls::<I>(edge, behind);
    let head_timeout = Duration::from_millis(edge.options.handshake_timeout_ms);
    let next_within = KEEP_ALIVE_TIMEOUT + head_timeout;
    let room = edge.room.clone();
    let app = App::new()
        .configure({
            let (behind, signs) = (behind.clone(), signs.clone());
            move |config| {
                if let Some(calls) = calls {
                    ysweet::configure(config, calls);
                }
                http::configure(config, behind.readiness, behind.metrics, signs);
            }
        })
        .wrap_fn(move |request, service| http::admit(&room, next_within, request, service));
    let doors = Rc::new((doors, signs));
    let upgrade = move |(request, framed): (Request, Framed<HttpStream<I>, Codec>)| {
        let framed = framed.into_map_io(HttpStream::into_inner);
        let running = open(&doors.0, &doors.1, &request, framed);
        async move {
            running.await;
            Ok::<(), actix_web::Error>(())
        }
    };
    let stopping = stopping.clone();
    HttpService::build()
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(LINGER_TIMEOUT)
        .keep_alive(KEEP_ALIVE_TIMEOUT)
        .on_connect_ext(|stream: &HttpStream<I>, data| {
            data.insert(stream.place());
        })
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .upgrade(fn_service(upgrade))
        .finish(map_config(app.into_factory(), |()| AppConfig::default()))
}

/// What calls over HTTP work with.
fn calls<I: Movable>(edge: &Arc<Edge>, behind: &Behind) -> Option<Calls> {
    Some(Calls {
        edge: edge.clone(),
        is_encrypted: !I::IS_PLAIN,
        signer: behind.signer.clone(),
        operations: behind.operations.clone()?,
    })
}

/// Lets a request in at its door.
fn open<I>(
    doors: &[Door<I>],
    signs: &DoorSigns,
    request: &Request,
    framed: Framed<I, Codec>,
) -> Running
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let path = request.path();
    for door in doors {
        if let Some(rest) = (door.matches)(path) {
            return (door.upgrade)(request, framed, rest);
        }
    }
    websocket::turn_away(framed, http::nothing_here(signs))
}

impl Server {
    /// Where it listens; the port is real even when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops to listen at once, tells all peers to go elsewhere (spread over time), takes what they
    /// sent before they heard it, and returns when all are gone or the time is up.
    pub async fn stop(mut self) -> io::Result<()> {
        let stopped = self.handle.stop(true);
        let farewell = async {
            self.connections
                .say_goodbye(self.drain_ms, self.goodbye_ms_max)
                .await;
            self.connections.wait_gone().await;
        };
        let (in_time, ()) = tokio::join!(
            tokio::time::timeout(self.shutdown_timeout, farewell),
            stopped
        );
        if in_time.is_err() {
            self.connections.sever_all();
            // They end with their next poll, unless their thread is stuck.
            let _ = tokio::time::timeout(SEVERED_TIMEOUT, self.connections.wait_gone()).await;
        }
        (&mut self.task)
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        self.connections.sever_all();
        self.task.abort();
    }
}
