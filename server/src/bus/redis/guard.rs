//! A mark on Redis of the database that a cluster writes to: a copy of the database has the same
//! cluster id, and its nodes would hear of commits that are not in their logs.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::RedisOptions;

/// How long the mark outlives the last node: a copy may take over from a database that is gone.
const MARK_SECONDS: u64 = 30;

/// How often it is renewed: two renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(10);

/// A renewal that takes longer is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is told to who finds the mark of another database.
pub(super) const FOREIGN: &str = "this Redis already serves another database with the same \
     cluster id (a copy of it?); run `driftless migrate --new-cluster-id` on the copy, or use \
     another Redis";

/// A connection without times of its own: whoever asks over it knows how long to wait, and the half
/// second that the library gives to an answer is less than a busy server may take.
pub(super) async fn connect(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// What to do about the mark, by the fingerprint of one's own database.
#[derive(Debug, Clone, Copy)]
pub enum Database<'a> {
    /// Set it, if no other database has.
    Claim(&'a str),
    /// Only look whether it is another's.
    Look(&'a str),
}

/// The key of the mark.
pub(super) fn key(options: &RedisOptions) -> String {
    format!("{}:database", options.prefix)
}

/// True if the mark is free or one's own, and then set, where that is asked for.
pub(super) async fn is_ours(
    connection: &mut MultiplexedConnection,
    key: &str,
    database: Database<'_>,
) -> RedisResult<bool> {
    let (Database::Claim(fingerprint) | Database::Look(fingerprint)) = database;
    if let Database::Claim(_) = database {
        let mut first = redis::cmd("SET");
        first.arg(key).arg(fingerprint).arg("NX");
        let taken: Option<String> = first
            .arg("EX")
            .arg(MARK_SECONDS)
            .query_async(connection)
            .await?;
        if taken.is_some() {
            return Ok(true);
        }
    }
    let present: Option<String> = redis::cmd("GET").arg(key).query_async(connection).await?;
    if present.is_some_and(|present| present != fingerprint) {
        return Ok(false);
    }
    if let Database::Claim(_) = database {
        let mut renewed = redis::cmd("SET");
        renewed
            .arg(key)
            .arg(fingerprint)
            .arg("EX")
            .arg(MARK_SECONDS);
        renewed.query_async::<()>(connection).await?;
    }
    Ok(true)
}

/// Renews the mark until it is aborted.
pub(super) async fn keep(client: Client, key: String, fingerprint: String) {
    let mut connection: Option<MultiplexedConnection> = None;
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let renewal = renew(&client, &mut connection, &key, &fingerprint);
        match timeout(ANSWER_TIMEOUT, renewal).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => tracing::error!("{FOREIGN}"),
            // The link tells that Redis is away; here the next round tries again.
            Ok(Err(_)) | Err(_) => connection = None,
        }
    }
}

async fn renew(
    client: &Client,
    connection: &mut Option<MultiplexedConnection>,
    key: &str,
    fingerprint: &str,
) -> RedisResult<bool> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect(client).await?),
    };
    is_ours(connection, key, Database::Claim(fingerprint)).await
}
