//! Finds out whether a Redis server can carry the bus, by doing what the bus will do.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd};
use tokio::time::timeout;

use super::{RedisOptions, client, guard};

/// The whole check; a server that takes longer counts as away.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);

/// The oldest server that the bus speaks with.
const VERSION_MIN: (u32, u32) = (6, 2);

/// How long the key of the check stays, should nobody overwrite it.
const KEY_SECONDS: u64 = 30;

/// What was found out about a server that can carry the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisReport {
    /// Its version; nothing when the user may not ask for it.
    pub version: Option<String>,
    /// From publishing a message to hearing it.
    pub round_trip: Duration,
    /// How far its clock is ahead of this machine's, in milliseconds; nothing when the user may not
    /// ask for it.
    pub ahead_ms: Option<i64>,
}

/// Why a server does not carry the bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisProblem {
    /// It is away, which may pass.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// It answers, and will go on not to fit until a person changes something.
    #[error("{0}")]
    Refused(String),
}

/// Does once what the bus will do: subscribes, publishes, hears, sets and gets a key, all below the
/// bus's own prefix; and looks at the mark of the `database`.
pub async fn check(
    options: &RedisOptions,
    database: Option<guard::Database<'_>>,
) -> Result<RedisReport, RedisProblem> {
    let checked = timeout(CHECK_TIMEOUT, check_all(options, database)).await;
    checked.unwrap_or_else(|_| Err(RedisProblem::Unreachable("it does not answer".to_owned())))
}

async fn check_all(
    options: &RedisOptions,
    database: Option<guard::Database<'_>>,
) -> Result<RedisReport, RedisProblem> {
    let client = client(options).map_err(|error| RedisProblem::Refused(error.0))?;
    let connecting = guard::connect(&client).await;
    let mut connection = connecting.map_err(|error| problem("AUTH", &error))?;
    let version = version(&mut connection).await?;
    if let Some(version) = version.as_deref().filter(|version| is_too_old(version)) {
        return Err(RedisProblem::Refused(format!(
            "the server is Redis {version}; driftless needs 6.2 or newer; upgrade it, or name \
             another in --bus"
        )));
    }
    let name = format!("{}:doctor", options.prefix);
    probe_keys(&mut connection, &name).await?;
    let pubsub = client.get_async_pubsub().await;
    let pubsub = pubsub.map_err(|error| problem("AUTH", &error))?;
    let round_trip = probe_channel(&mut connection, pubsub, &name).await?;
    let ahead_ms = ahead_ms(&mut connection).await;
    if let Some(database) = database {
        let is_ours = guard::is_ours(&mut connection, &guard::key(options), database).await;
        if !is_ours.map_err(|error| problem("GET or SET", &error))? {
            return Err(RedisProblem::Refused(guard::FOREIGN.to_owned()));
        }
    }
    Ok(RedisReport {
        version,
        round_trip,
        ahead_ms,
    })
}

/// The server's version, if the user may ask for it: the bus itself need not.
async fn version(connection: &mut MultiplexedConnection) -> Result<Option<String>, RedisProblem> {
    let mut ask = cmd("INFO");
    let told: RedisResult<String> = ask.arg("server").query_async(connection).await;
    let told = match told {
        Ok(told) => told,
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            return Ok(None);
        }
        Err(error) => return Err(problem("INFO", &error)),
    };
    let mut lines = told.lines();
    Ok(lines.find_map(|line| Some(line.strip_prefix("redis_version:")?.trim().to_owned())))
}

fn is_too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN
}

async fn probe_keys(connection: &mut MultiplexedConnection, key: &str) -> Result<(), RedisProblem> {
    run(connection, "PING", &cmd("PING")).await?;
    let mut set = cmd("SET");
    set.arg(key).arg("probe").arg("EX").arg(KEY_SECONDS);
    run(connection, "SET", &set).await?;
    let mut get = cmd("GET");
    run(connection, "GET", get.arg(key)).await
}

async fn probe_channel(
    connection: &mut MultiplexedConnection,
    mut pubsub: PubSub,
    channel: &str,
) -> Result<Duration, RedisProblem> {
    let subscribed = pubsub.subscribe(channel).await;
    subscribed.map_err(|error| problem("SUBSCRIBE", &error))?;
    let token = format!("{:032x}", fastrand::u128(..));
    let begun = Instant::now();
    let mut publish = cmd("PUBLISH");
    publish.arg(channel).arg(&token);
    run(connection, "PUBLISH", &publish).await?;
    let mut messages = pubsub.on_message();
    // Others may be checking at the same time.
    while let Some(message) = messages.next().await {
        if message.get_payload_bytes() == token.as_bytes() {
            return Ok(begun.elapsed());
        }
    }
    Err(RedisProblem::Unreachable(
        "it closed the connection".to_owned(),
    ))
}

async fn run(
    connection: &mut MultiplexedConnection,
    name: &'static str,
    command: &Cmd,
) -> Result<(), RedisProblem> {
    let answered = command.query_async::<redis::Value>(connection).await;
    answered.map(drop).map_err(|error| problem(name, &error))
}

/// The difference of the clocks, as if the answer had been made in the middle of the wait for it.
async fn ahead_ms(connection: &mut MultiplexedConnection) -> Option<i64> {
    let now_ms = || {
        i64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()?
                .as_millis(),
        )
        .ok()
    };
    let before = now_ms()?;
    let (seconds, microseconds): (i64, i64) = cmd("TIME").query_async(connection).await.ok()?;
    let middle = before + (now_ms()? - before) / 2;
    Some(seconds * 1_000 + microseconds / 1_000 - middle)
}

/// What an error means, in the user's words: what a server refuses does not pass by itself.
fn problem(command: &str, error: &RedisError) -> RedisProblem {
    let refused = |told: String| RedisProblem::Refused(told);
    let detail = || error.detail().unwrap_or_default().to_owned();
    match error.kind() {
        ErrorKind::AuthenticationFailed => wrong_password(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => refused(format!(
            "the Redis user may not use {command} here ({}); allow its commands with `ACL SETUSER \
             name ~driftless:* &driftless:* +ping +get +set +publish +subscribe +unsubscribe`",
            detail()
        )),
        // It may have room again before anybody looks.
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if detail().contains("max number of clients") =>
        {
            RedisProblem::Unreachable(detail())
        }
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            refused(format!("Redis refuses {command}: {}", detail()))
        }
        ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => refused(format!(
            "the bus's URL does not fit the server ({}); check --bus",
            error.category()
        )),
        _ => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => wrong_password(),
            Some("DENIED") => refused(format!("Redis takes nobody from here: {}", detail())),
            Some(code) => RedisProblem::Unreachable(format!("{code} {}", detail())),
            None => RedisProblem::Unreachable(error.to_string()),
        },
    }
}

fn wrong_password() -> RedisProblem {
    RedisProblem::Refused(
        "Redis does not accept the user and password; check them in --bus".to_owned(),
    )
}
