//! The one table of settings. To add a setting, add a row here and run
//! `UPDATE_DOCS=1 cargo test -p driftless configuration`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use driftless_proto::engine::ClientIds;
use ipnet::IpNet;

use super::choices::ClientIdRule;
use super::error::ConfigError;
use super::kinds::{
    Address, Bounds, BusLocation, BusUrl, Count, Expiry, FilePath, Kind, LogFilter, LogFormat,
    LogStyle, Milliseconds, OptionalPath, Origins, Period, Relay, RelayMode, Size, StoreLocation,
    StoreUrl, Switch,
};
use super::names::MemberName;
use super::ranges::AddressRanges;
use super::secrets::{AnyUrl, OptionalText, PrivateUrl, Secret, SecretText, ServiceUrl};
use super::setting::{Preset, Setting};
use super::units::{show_duration_ms, show_size};
use super::values::Values;
use crate::adapters::access::OnExpiry;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY_MS: u64 = 86_400_000;

/// Turns rows into the [`Settings`] struct, the [`TABLE`] and the reader of the one by the other.
macro_rules! settings {
    ($($group:literal { $(
        $name:literal as $field:ident: $kind:ident -> $type:ty $([$min:expr, $max:expr])?
            = $preset:expr, $help:expr;
    )* })*) => {
        /// The effective settings, checked; passed by value to whoever starts the server's parts.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings {
            $($(#[doc = $help] pub $field: $type,)*)*
        }

        /// Every setting, in the order of help pages.
        pub static TABLE: &[Setting] = &[$($(Setting {
            name: $name,
            group: $group,
            syntax: <$kind as Kind>::SYNTAX,
            bounds: settings!(@bounds $($min, $max)?),
            preset: $preset,
            help: $help,
            show_number: settings!(@show $kind),
        },)*)*];

        impl Settings {
            /// Reads and bounds every value.
            pub(super) fn read(values: &mut Values) -> Result<Self, ConfigError> {
                Ok(Self { $($($field: values.read::<$kind>($name)?,)*)* })
            }
        }
    };
    (@bounds) => { None };
    (@bounds $min:expr, $max:expr) => { Some(Bounds { min: $min, max: $max }) };
    (@show Size) => { show_size };
    (@show Milliseconds) => { show_duration_ms };
    (@show Period) => { show_duration_ms };
    (@show $other:ident) => { show_count };
}

fn show_count(number: u64) -> String {
    number.to_string()
}

settings! {
    "Where" {
        "listen" as listen: Address -> SocketAddr = Preset::Fixed("127.0.0.1:8080"),
            "Address and port that clients connect to. Port 0 takes a free one, which the start \
             banner names.";
        "data" as data: FilePath -> PathBuf = Preset::Fixed("./driftless-data"),
            "Folder that holds the database, its lock and the admin socket. One server at a time.";
        "store" as store: StoreUrl -> StoreLocation = Preset::Fixed("sqlite:"),
            "Where documents are stored. `sqlite:` is the embedded database in the data folder; \
             postgres://user:password@host:5432/database is shared by all nodes of a cluster.";
        "bus" as bus: BusUrl -> BusLocation = Preset::Fixed("local:"),
            "How nodes hear of each other's changes: `local:` for a single node, \
             redis://user:password@host:6379 (rediss:// with TLS) for several. Without it, or \
             while it is down, changes of other nodes arrive by looking at the store.";
        "config" as config: OptionalPath -> Option<PathBuf> = Preset::Fixed(""),
            "TOML file with settings. It stands behind flags and the environment, before defaults.";
    }
    "Who may connect" {
        "allow_origin" as allow_origins: Origins -> Vec<String> = Preset::Fixed(""),
            "Web origin whose pages may connect and call, besides localhost and the server's own host; \
             repeat the flag, or separate by commas. Any page that a browser opens can reach a \
             local port, so others are refused. Without keys and hook, and without insecure_open, the \
             own host counts by address, or by a name that stands here: any page can have a name lead \
             to this machine.";
        "insecure_open" as insecure_open: Switch -> bool = Preset::Fixed("false"),
            "Listen beyond loopback although nobody is authenticated, without keys and hook: whoever \
             reaches the port can read and change every document.";
        "connections_max" as connections_max: Count -> u64 [1, 1_000_000] = Preset::Fixed("100000"),
            "Connections at a time. Each holds a file descriptor and some buffers; past it new \
             ones are refused with 503.";
        "connections_per_address_max" as connections_per_address_max: Count -> u64 [1, 1_000_000]
            = Preset::Same("connections_max"),
            "Connections at a time from one address. Behind a proxy all clients share its address \
             (but see proxy_protocol_from), hence no lower default.";
        "unauthenticated_connections_max" as unauthenticated_connections_max: Count -> u64
            [1, 1_000_000] = Preset::Fixed("10000"),
            "Connections at a time that have not opened a document, and never more than half of \
             connections_max, so that those who may be here find room whoever else knocks; past it new \
             ones are refused with 503. A token in the URL or a header that is judged at once needs no \
             such room.";
        "unauthenticated_connections_per_address_max" as unauthenticated_connections_per_address_max:
            Count -> u64 [1, 1_000_000] = Preset::Fixed("2000"),
            "The same from one address (of IPv6, from one /64); past it 429. Loopback is exempt: a \
             proxy on this machine stands for everybody. Behind one elsewhere that does not tell \
             addresses (proxy_protocol_from), raise it to unauthenticated_connections_max.";
        "joins_per_second_max" as joins_per_second_max: Count -> u64 [0, 1_000_000]
            = Preset::Fixed("200"),
            "Documents joined a second from one address (of IPv6, from one /64), with 10 seconds' worth \
             at once, calls of the y-sweet door among them; past it a join is refused before anything is loaded or anybody is asked, so that \
             clients come back. Loopback is exempt, for the same reason and for load tests. Raise it \
             behind a proxy that does not tell addresses. 0 is no limit.";
        "sessions_per_document_max" as sessions_per_document_max: Count -> u64 [1, 1_000_000]
            = Preset::Fixed("10000"),
            "Sessions of one document on this node, since each edit is sent to all of them. One more is \
             refused and may try again.";
        "sessions_per_identity_max" as sessions_per_identity_max: Count -> u64 [1, 1_000_000]
            = Preset::Fixed("10000"),
            "Sessions of one verified identity (`sub`) on this node, over all documents: bounds what a \
             stolen token can hold. A person has some tabs, a service may have thousands of documents \
             open. One more is refused and may try again. Anonymous sessions are not counted.";
        "handshake_timeout_ms" as handshake_timeout_ms: Milliseconds -> u64 [100, 120_000]
            = Preset::Fixed("10s"),
            "Time for a client to send its request head, and as much for the TLS handshake before it; \
             ends connections that send it drop by drop.";
        "tls_certificate" as tls_certificate: OptionalPath -> Option<PathBuf> = Preset::Fixed(""),
            "PEM file with the server's certificate and then those that signed it. With it the port \
             speaks TLS 1.2 and 1.3 and nothing else: https:// and wss://. Looked at every 5s and at \
             SIGHUP: a new pair serves who connects from then on; a broken one changes nothing, is \
             logged and counted.";
        "tls_key" as tls_key: OptionalPath -> Option<PathBuf> = Preset::Fixed(""),
            "PEM file with the key of tls_certificate, not encrypted; both are set, or neither.";
        "proxy_protocol_from" as proxy_protocol_from: AddressRanges -> Vec<IpNet>
            = Preset::Fixed(""),
            "Balancers, as addresses or ranges, that open every connection with a header of the PROXY \
             protocol version 2 (HAProxy: `send-proxy-v2`). The client's address is the one it tells; \
             connections from there without it are closed. Elsewhere the header is never read, so \
             that nobody can forge an address. Repeat the flag, or separate by commas.";
    }
    "Access over time" {
        "unauthenticated_timeout_ms" as unauthenticated_timeout_ms: Milliseconds -> u64
            [100, 600_000] = Preset::Fixed("10s"),
            "Time for a client to show a token that opens a document, counted from its connection and \
             for each further document from its first word. Who does not is refused.";
        "unauthenticated_bytes_max" as unauthenticated_bytes_max: Size -> u64 [4 * KIB, 64 * MIB]
            = Preset::Fixed("1MiB"),
            "Bytes that a Hocuspocus client may send for documents whose token is not judged yet, each \
             message counted with 64 bytes more. Beyond it the connection is closed.";
        "documents_per_connection_max" as documents_per_connection_max: Count -> u64 [1, 100_000]
            = Preset::Fixed("1000"),
            "Documents at a time over one Hocuspocus connection. One more closes it.";
        "expiry_warning_ms" as expiry_warning_ms: Milliseconds -> u64 [0, 3_600_000]
            = Preset::Fixed("30s"),
            "How long before its token expires a client is warned: a Hocuspocus client is asked for a \
             new one, others are told.";
        "on_expiry" as on_expiry: Expiry -> OnExpiry = Preset::Fixed("end"),
            "What becomes of a session whose token has expired: it ends, or goes on reading.";
        "hocuspocus_at_root" as hocuspocus_at_root: Switch -> bool = Preset::Fixed("false"),
            "Speak Hocuspocus' dialect at every path that has no other meaning, for clients whose URL \
             cannot be changed.";
    }
    "Identity and rights" {
        "auth_secret" as auth_secret: Secret -> Option<SecretText> = Preset::Fixed(""),
            "Secret that tokens are signed with (HS256), of 32 bytes or more. Whoever has it can mint \
             tokens. On a command line other users of the machine can see it; DRIFTLESS_AUTH_SECRET \
             they cannot.";
        "auth_keys" as auth_keys: OptionalPath -> Option<PathBuf> = Preset::Fixed(""),
            "File with the public keys that tokens are verified with: PEM blocks, a JWK or a JWKS. \
             It is read again when it changes; a broken one keeps the keys from before.";
        "auth_jwks_url" as auth_jwks_url: PrivateUrl -> Option<ServiceUrl> = Preset::Fixed(""),
            "Where an issuer publishes its keys (JWKS). Fetched every 5 minutes and for an unknown \
             `kid`, at most every 10 seconds; its last keys are used for a day while it fails.";
        "auth_audience" as auth_audience: OptionalText -> Option<String> = Preset::Fixed(""),
            "Tokens must name this in `aud`. Set it when the issuer mints tokens for others, too.";
        "auth_issuer" as auth_issuer: OptionalText -> Option<String> = Preset::Fixed(""),
            "Tokens must have exactly this `iss`.";
        "auth_signing_key" as auth_signing_key: OptionalPath -> Option<PathBuf> = Preset::Fixed(""),
            "File with the private key (PEM or JWK) that this server and `driftless token` mint tokens \
             with; they are accepted here. Without it auth_secret is used, if there is one.";
        "auth_hook_url" as auth_hook_url: AnyUrl -> Option<ServiceUrl> = Preset::Fixed(""),
            "Where the application is asked about each peer, instead of keys. It fails closed: \
             without an answer nobody new gets in.";
        "auth_hook_secret" as auth_hook_secret: Secret -> Option<SecretText> = Preset::Fixed(""),
            "Secret that requests to the hook are signed with, of 32 bytes or more, so that the \
             application knows who asks.";
        "auth_hook_timeout_ms" as auth_hook_timeout_ms: Milliseconds -> u64 [100, 60_000]
            = Preset::Fixed("3s"),
            "Time for the hook to answer. After 5 failures in a row it is left alone for 5 seconds.";
        "auth_hook_cache_ms" as auth_hook_cache_ms: Milliseconds -> u64 [0, 3_600_000]
            = Preset::Fixed("10s"),
            "How long an answer of the hook counts for the same token and document; spares it a rush \
             when many reconnect.";
        "presence_identity_field" as presence_identity_field: MemberName -> Option<Arc<str>>
            = Preset::Fixed(""),
            "Where the server writes who somebody is into presence entries, say `verified`: each shows \
             `\"verified\": {\"sub\": …}` for the verified identity of its session, whatever the client \
             wrote there, and no session changes or removes the entry of another identity. Empty: \
             entries are what clients say. The same on all nodes.";
        "client_ids" as client_ids: ClientIdRule -> ClientIds = Preset::Fixed("free"),
            "Whether a client id of a document belongs to the identity that wrote under it first, so \
             that nobody changes the document in the name of somebody else. `bound` relays changes after \
             their commit, whatever relay says. The same on all nodes.";
    }
    "Several nodes" {
        "postgres_connections_max" as postgres_connections_max: Count -> u64 [2, 1_000]
            = Preset::Fixed("16"),
            "Connections of this node to PostgreSQL. Each lane commits over one; loads and reads \
             share the others.";
        "postgres_acquire_timeout_ms" as postgres_acquire_timeout_ms: Milliseconds -> u64
            [100, 600_000] = Preset::Fixed("10s"),
            "How long a read waits for a free connection, or for a server that is away, before it \
             fails. Commits are retried for ever.";
        "postgres_statement_timeout_ms" as postgres_statement_timeout_ms: Milliseconds -> u64
            [1_000, 3_600_000] = Preset::Fixed("30s"),
            "How long a statement may take before the server gives it up; a node that stands \
             still in the middle of a commit frees its locks by then.";
        "postgres_lock_timeout_ms" as postgres_lock_timeout_ms: Milliseconds -> u64
            [100, 600_000] = Preset::Fixed("5s"),
            "How long a commit waits for the locks of its documents before it is tried again.";
        "postgres_pooled" as postgres_pooled: Switch -> bool = Preset::Fixed("false"),
            "A proxy that pools transactions (pgbouncer) stands before PostgreSQL: nothing is prepared \
             by name, and a commit travels as text.";
        "postgres_allow_unsafe" as postgres_allow_unsafe: Switch -> bool = Preset::Fixed("false"),
            "Start although the server runs with fsync, full_page_writes or synchronous_commit \
             off, and may lose what was acknowledged. For tests.";
        "commit_lanes" as commit_lanes: Count -> u64 [1, 64] = Preset::Fixed("4"),
            "Commits to PostgreSQL that may be under way at a time, each of its own share of the \
             documents; the same number on all nodes. SQLite has one writer.";
        "poll_ms" as poll_ms: Milliseconds -> u64 [100, 600_000] = Preset::Fixed("1s"),
            "How often the store is asked for changes of other nodes while the bus is down; five \
             times as rarely while it is up.";
        "drain_ms" as drain_ms: Milliseconds -> u64 [0, 600_000] = Preset::Fixed("0s"),
            "Over how long a stopping node spreads the goodbyes to its clients, so that they do not \
             all reach the other nodes at once. shutdown_timeout_ms counts from its end.";
    }
    "Relay and history" {
        "relay" as relay: Relay -> RelayMode = Preset::Fixed("immediate"),
            "When peers see a change: at once, or only after it is durable. Acknowledgements always \
             wait for the commit.";
        "history" as history_ms: Period -> u64 [0, 3_650 * DAY_MS] = Preset::Fixed("7d"),
            "How long single edits are kept behind a snapshot, for versions and audit. 0 keeps none \
             that a snapshot covers.";
        "history_max" as history_bytes_max: Size -> u64 [0, 1_024 * GIB] = Preset::Fixed("256MiB"),
            "Bytes of history kept per document; the oldest edits go first.";
    }
    "Logging" {
        "log" as log: LogFilter -> String = Preset::Fixed("info,actix_server=warn"),
            "Which log lines are written: a level, or `info,driftless::store=debug`.";
        "log_format" as log_format: LogStyle -> LogFormat = Preset::Fixed("text"),
            "Log lines for people, or one JSON object a line. They go to standard error.";
    }
    "Limits on what clients send" {
        "document_bytes_max" as document_bytes_max: Size -> u64 [64 * KIB, GIB]
            = Preset::Fixed("32MiB"),
            "Size of a document's state. At the limit it becomes read-only: readable, exportable, \
             its sessions stay.";
        "frame_bytes_max" as frame_bytes_max: Size -> u64 [64 * KIB, 1_025 * MIB]
            = Preset::Plus { setting: "document_bytes_max", bytes: 64 * KIB },
            "Size of one frame from a client. A client may send a whole document in one frame, so \
             this is never below document_bytes_max.";
        "presence_bytes_max" as presence_bytes_max: Size -> u64 [256, MIB] = Preset::Fixed("64KiB"),
            "Size of one presence entry (cursor, name, colour), since each is sent to every peer.";
        "stateless_bytes_max" as stateless_bytes_max: Size -> u64 [256, 16 * MIB]
            = Preset::Fixed("64KiB"),
            "Size of one stateless message (Hocuspocus), since each is sent to every session of the \
             document.";
        "presence_entries_max" as presence_entries_max: Count -> u64 [1, 100_000]
            = Preset::Fixed("1024"),
            "Presence entries one session may carry. Clients repeat what they hear of others, so \
             this bounds a room, not a person.";
        "presence_per_second_max" as presence_per_second_max: Count -> u64 [0, 10_000]
            = Preset::Fixed("200"),
            "How often a second the sessions of a document are told of changed presence, with a \
             second's worth at once. What changes more often gathers and only the newest is told, so \
             that nothing is lost and one session's flood costs others a bounded number of frames. A \
             screen shows 60 images a second. 0 is no limit.";
        "connection_bytes_per_second_max" as connection_bytes_per_second_max: Size -> u64 [0, GIB]
            = Preset::Fixed("16MiB"),
            "Bytes a second from one connection, with 4 seconds' worth at once, which is more than a \
             whole document. Past it the connection is read more slowly; nothing is lost. 0 is no \
             limit.";
        "connection_messages_per_second_max" as connection_messages_per_second_max: Count -> u64
            [0, 10_000_000] = Preset::Fixed("0"),
            "The same in messages. 0 is no limit: clients that were offline may send every key stroke \
             as a message of its own, and merged in one turn those cost little beyond their bytes.";
    }
    "Queues and memory" {
        "documents_resident_bytes_max" as documents_resident_bytes_max: Size -> u64
            [16 * MIB, 1_024 * GIB] = Preset::Fixed("1GiB"),
            "Memory for all documents together. Past it the least recently used idle ones leave \
             memory first.";
        "document_idle_ms" as document_idle_ms: Milliseconds -> u64 [0, DAY_MS]
            = Preset::Fixed("30s"),
            "How long a document without sessions stays in memory; spares a reload when a page is \
             refreshed.";
        "mailbox_bytes_max" as mailbox_bytes_max: Size -> u64 [64 * KIB, GIB]
            = Preset::Fixed("8MiB"),
            "Bytes that wait for one document. When full its writers' sockets are not read; a \
             larger frame is taken alone.";
        "session_queue_bytes_max" as session_queue_bytes_max: Size -> u64 [4 * KIB, 64 * MIB]
            = Preset::Fixed("256KiB"),
            "Bytes that wait for one slow reader. Past it nothing more is queued, and the reader is \
             resynced once it has read what waits.";
        "commit_queue_bytes_max" as commit_queue_bytes_max: Size -> u64 [MIB, 64 * GIB]
            = Preset::Fixed("256MiB"),
            "Edits of all documents that wait for the disk. When full writers are told to stop, \
             nothing is dropped.";
        "chunk_bytes" as chunk_bytes: Size -> u64 [16 * KIB, 16 * MIB] = Preset::Fixed("256KiB"),
            "A document larger than this is sent to joiners in parts of about this size, so that \
             no client gives up waiting; while it loads, up to 1MiB goes as it is stored.";
    }
    "Threads" {
        "document_threads" as document_threads: Count -> u64 [1, 256] = Preset::Cores { max: 8 },
            "Threads that run documents and their sockets; each document lives on one.";
        "http_workers" as http_workers: Count -> u64 [1, 256] = Preset::Cores { max: 8 },
            "Threads that accept connections and answer HTTP.";
        "load_concurrency" as load_concurrency: Count -> u64 [1, 256] = Preset::Fixed("8"),
            "Documents that are loaded from the store at a time; the others wait, so that a rush \
             of joins does not fill the memory.";
    }
    "Times" {
        "commit_linger_ms" as commit_linger_ms: Milliseconds -> u64 [0, 2] = Preset::Fixed("2ms"),
            "The least time from the end of a commit to the beginning of the next, in which edits \
             gather. The first edit after a quiet time waits for nothing.";
        "keepalive_ms" as keepalive_ms: Milliseconds -> u64 [1_000, 29_000] = Preset::Fixed("20s"),
            "How often a quiet connection is sent a message. Clients of y-websocket and Hocuspocus \
             reconnect after 30s without one; those of y-sweet after 5s, so they get one after 2.5s.";
        "peer_timeout_ms" as peer_timeout_ms: Milliseconds -> u64 [2_000, 3_600_000]
            = Preset::Fixed("60s"),
            "Silence after which a connection counts as dead and is closed; longer than \
             keepalive_ms. After half of it comes a ping, which a live peer answers.";
        "frame_timeout_ms" as frame_timeout_ms: Milliseconds -> u64 [1_000, 3_600_000]
            = Preset::Fixed("30s"),
            "Time for a message that has begun to come to its end, and 1s more for each KiB of it that \
             came: uploads over slow links pass, a message sent drop by drop does not and its \
             connection is closed.";
        "presence_timeout_ms" as presence_timeout_ms: Milliseconds -> u64 [5_000, 3_600_000]
            = Preset::Fixed("30s"),
            "Presence entries not renewed for this long are removed. Yjs clients renew theirs every \
             15s and use the same 30s.";
        "presence_grace_ms" as presence_grace_ms: Milliseconds -> u64 [0, 60_000]
            = Preset::Fixed("2s"),
            "How long presence outlives a lost connection, so that a reconnect does not blink.";
        "stuck_timeout_ms" as stuck_timeout_ms: Milliseconds -> u64 [1_000, 600_000]
            = Preset::Fixed("10s"),
            "A document that works on one round of messages for longer is replaced from the store.";
        "shutdown_timeout_ms" as shutdown_timeout_ms: Milliseconds -> u64 [100, 600_000]
            = Preset::Fixed("15s"),
            "Time for a graceful stop: commit everything, tell clients to move, exit 0. \
             Orchestrators kill after 30s by default.";
    }
}
