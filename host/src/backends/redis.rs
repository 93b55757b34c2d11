//! The far cache in Redis: values under a key for a time (rules A1 to A6). Not for what makes a
//! value usable: whatever Redis answers is judged elsewhere.
//!
//! The connection is looked after here, not by the driver's manager: that one never connects again
//! after an error other than of I/O (a wrong password that was put right), and lets callers wait for
//! a server that is known to be down.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, Script, Value};
use tokio::sync::watch;

use super::{FAR_FORMAT, FAR_HEADER, Far, FarError};

/// For a new connection, password check included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So many late replies in a row: the connection is taken for dead, though nobody said so.
const LATE_LIMIT: u32 = 16;

/// A4. What is stored and cannot be read, of another type included, is overwritten. Digits are
/// compared as numbers: they are below 2^53, and the order of strings depends on the locale.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    let last = FAR_HEADER - 1;
    Script::new(&format!(
        "local header = redis.pcall('GETRANGE', KEYS[1], 0, {last})
        if type(header) == 'string' and #header == {FAR_HEADER}
            and string.sub(header, 1, 2) == '{FAR_FORMAT}' and header ~= ARGV[2] then
            local old = string.match(string.sub(header, 3, 22), '^%d+$')
            local new = string.match(string.sub(ARGV[1], 3, 22), '^%d+$')
            if old and new and tonumber(old) >= tonumber(new) then return 0 end
        end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
        return 1"
    ))
});

pub struct RedisFar {
    link: Arc<Link>,
    deadline: Duration,
    place: String,
}

/// The one connection, shared by all calls.
struct Link {
    client: Client,
    state: watch::Sender<State>,
    numbers: AtomicU64,
    late: AtomicU32,
}

enum State {
    /// Nobody has asked yet.
    Idle,
    /// Just lost, or asked for the first time: worth waiting for.
    Connecting,
    /// With a number, so that a failed call ends its own connection and not the next one.
    Up(u64, MultiplexedConnection),
    /// The last try failed; tries go on, and callers do not wait for them.
    Down(String),
}

impl RedisFar {
    /// Connects to nothing yet: the server may be down, or come later. Fails on a URL that cannot
    /// be read.
    pub fn connect(url: &str, deadline: Duration) -> Result<RedisFar, FarError> {
        // The driver's own words may repeat parts of the URL, which can hold a password.
        let client = Client::open(url).map_err(|_| {
            let words = "the Redis URL cannot be read: redis://:PASSWORD@HOST:PORT/NUMBER or \
                 redis+unix:///PATH is expected (TLS is not built in)";
            FarError::Unavailable(words.to_owned())
        })?;
        let place = format!("redis at {}", client.get_connection_info().addr());
        let link = Arc::new(Link {
            client,
            state: watch::Sender::new(State::Idle),
            numbers: AtomicU64::new(0),
            late: AtomicU32::new(0),
        });
        Ok(RedisFar {
            link,
            deadline,
            place,
        })
    }

    /// Runs one call within the deadline, waiting for a connection included.
    async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, FarError> {
        let mut number = None;
        let call = async {
            let (current, mut connection) = self.link.connection().await?;
            number = Some(current);
            let result = work(&mut connection).await;
            self.link.late.store(0, Ordering::Relaxed);
            result.map_err(|error| {
                if error.is_unrecoverable_error() || error.is_io_error() {
                    self.link.reconnect(Some(current));
                }
                FarError::Unavailable(error.to_string())
            })
        };
        match tokio::time::timeout(self.deadline, call).await {
            Ok(result) => result,
            Err(_) => {
                if number.is_some()
                    && self.link.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_LIMIT
                {
                    self.link.reconnect(number);
                }
                Err(FarError::Late)
            }
        }
    }
}

impl Link {
    async fn connection(self: &Arc<Self>) -> Result<(u64, MultiplexedConnection), FarError> {
        if let Some(found) = self.look() {
            return found;
        }
        self.reconnect(None);
        let mut state = self.state.subscribe();
        loop {
            if let Some(found) = self.look() {
                return found;
            }
            if state.changed().await.is_err() {
                // The sender lives in `self`.
                return Err(FarError::Unavailable("the connection is gone".to_owned()));
            }
        }
    }

    /// `None`: a connection may come soon.
    fn look(&self) -> Option<Result<(u64, MultiplexedConnection), FarError>> {
        match &*self.state.borrow() {
            State::Up(number, connection) => Some(Ok((*number, connection.clone()))),
            State::Down(error) => Some(Err(FarError::Unavailable(error.clone()))),
            State::Idle | State::Connecting => None,
        }
    }

    /// Replaces the connection that failed (`None`: makes the first one), in the background.
    fn reconnect(self: &Arc<Self>, failed: Option<u64>) {
        let ours = self.state.send_if_modified(|state| {
            let ours = match state {
                State::Idle => true,
                State::Up(number, _) => failed == Some(*number),
                State::Connecting | State::Down(_) => false,
            };
            if ours {
                *state = State::Connecting;
            }
            ours
        });
        if ours {
            tokio::spawn(connect(Arc::downgrade(self)));
        }
    }
}

/// Tries until there is a connection, or nobody has the far cache any more.
async fn connect(link: Weak<Link>) {
    // Deadlines are ours, per call.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(None);
    let mut pause = FIRST_PAUSE;
    while let Some(link) = link.upgrade() {
        let work = link
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let error = match tokio::time::timeout(CONNECT_DEADLINE, work).await {
            Ok(Ok(connection)) => {
                let number = link.numbers.fetch_add(1, Ordering::Relaxed);
                link.late.store(0, Ordering::Relaxed);
                link.state.send_replace(State::Up(number, connection));
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer to a new connection".to_owned(),
        };
        link.state.send_replace(State::Down(error));
        drop(link);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A value, or nothing. What is of another type (`WRONGTYPE`) is not one of ours: a miss (A3), and
/// the put that follows replaces it.
fn value(reply: Value) -> Result<Option<Vec<u8>>, FarError> {
    match reply {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
        Value::ServerError(error) => Err(FarError::Unavailable(error.to_string())),
        _ => Err(FarError::Unavailable(
            "a reply of an unexpected type".to_owned(),
        )),
    }
}

#[async_trait]
impl Far for RedisFar {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, FarError> {
        // GETs, not MGET: keys may belong to different nodes (A1).
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.add_command(Cmd::get(key));
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self
            .call(async |connection: &mut MultiplexedConnection| {
                connection
                    .send_packed_commands(&pipeline, 0, keys.len())
                    .await
            })
            .await?;
        if replies.len() != keys.len() {
            return Err(FarError::Unavailable(
                "a reply of an unexpected length".to_owned(),
            ));
        }
        replies.into_iter().map(value).collect()
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seen: &[u8],
        ttl: Duration,
    ) -> Result<bool, FarError> {
        // Redis refuses a life of 0.
        let ttl = u64::try_from(ttl.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(1, 1 << 52);
        let mut put = PUT.key(key);
        put.arg(value).arg(seen).arg(ttl);
        let stored: i64 = self
            .call(async |connection: &mut MultiplexedConnection| put.invoke_async(connection).await)
            .await?;
        Ok(stored == 1)
    }

    fn describe(&self) -> String {
        self.place.clone()
    }
}
