//! The connection to one Redis server, shared by all calls. It is made in the background, and made
//! again whenever it fails. Not for what is asked over it, nor for which server to ask.
//!
//! The connection is looked after here, not by the driver's manager: that one never connects again
//! after an error other than of I/O (a wrong password that was put right), and lets callers wait for
//! a server that is known to be down.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::address::place;
use super::tls::Tls;
use crate::backends::FarError;

/// For a new connection, password check included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// Between two tries to connect.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So many late replies in a row: the connection is taken for dead, though nobody said so.
const LATE_LIMIT: u32 = 4;

pub struct Link {
    info: ConnectionInfo,
    tls: Option<Arc<Tls>>,
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
    Up(u64, Connection),
    /// The last try failed; tries go on, and callers do not wait for them.
    Down(String),
}

#[derive(Clone)]
struct Connection {
    calls: MultiplexedConnection,
    /// What moves the bytes, if the driver does not see to that itself; ends with the last call.
    _mover: Option<Arc<Mover>>,
}

struct Mover(tokio::task::JoinHandle<()>);

impl Drop for Mover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Connects to nothing yet.
    pub fn new(info: ConnectionInfo, tls: Option<Arc<Tls>>) -> Arc<Link> {
        Arc::new(Link {
            info,
            tls,
            state: watch::Sender::new(State::Idle),
            numbers: AtomicU64::new(0),
            late: AtomicU32::new(0),
        })
    }

    pub fn place(&self) -> String {
        place(self.info.addr())
    }

    /// The host, as other servers may refer to it by nothing at all.
    pub fn host(&self) -> &str {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) => host,
            _ => "",
        }
    }

    /// Begins to connect, if nobody has.
    pub fn wake(self: &Arc<Self>) {
        self.reconnect(None);
    }

    /// One round trip, waiting for a connection included: the replies to all commands, errors of
    /// single ones among them.
    pub async fn exchange(
        self: &Arc<Self>,
        commands: &Pipeline,
        until: Instant,
    ) -> Result<Vec<Value>, FarError> {
        let mut number = None;
        let call = async {
            let (current, mut connection) = self.connection().await?;
            number = Some(current);
            let replies = connection
                .calls
                .send_packed_commands(commands, 0, commands.len())
                .await;
            self.late.store(0, Ordering::Relaxed);
            let replies = replies.map_err(|error| {
                if error.is_unrecoverable_error() || error.is_io_error() {
                    self.reconnect(Some(current));
                }
                FarError::Unavailable(error.to_string())
            })?;
            if replies.len() != commands.len() {
                let words = "a reply of an unexpected length";
                return Err(FarError::Unavailable(words.to_owned()));
            }
            Ok(replies)
        };
        match tokio::time::timeout_at(until, call).await {
            Ok(result) => result,
            Err(_) => {
                if number.is_some() && self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_LIMIT {
                    self.reconnect(number);
                }
                Err(FarError::Late)
            }
        }
    }

    async fn connection(self: &Arc<Self>) -> Result<(u64, Connection), FarError> {
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
    fn look(&self) -> Option<Result<(u64, Connection), FarError>> {
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

    async fn open(&self) -> Result<Connection, String> {
        // Deadlines are ours, per call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(None);
        let (Some(tls), ConnectionAddr::Tcp(host, port)) = (&self.tls, self.info.addr()) else {
            let client = Client::open(self.info.clone()).map_err(|error| error.to_string())?;
            let calls = client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| {
                    // It let us in, and hung up at our first word.
                    let hung_up = error.is_connection_dropped() && !error.is_connection_refusal();
                    let guess = " (does it want TLS, rediss://?)";
                    format!("{error}{}", if hung_up { guess } else { "" })
                })?;
            return Ok(Connection {
                calls,
                _mover: None,
            });
        };
        let stream = tls.connect(host, *port).await?;
        let login = self.info.redis_settings();
        let (calls, mover) = MultiplexedConnection::new_with_config(login, stream, config)
            .await
            .map_err(|error| error.to_string())?;
        let mover = Mover(tokio::spawn(mover));
        Ok(Connection {
            calls,
            _mover: Some(Arc::new(mover)),
        })
    }
}

/// Tries until there is a connection, or nobody has the link any more.
async fn connect(link: Weak<Link>) {
    let mut pause = FIRST_PAUSE;
    while let Some(link) = link.upgrade() {
        let error = match tokio::time::timeout(CONNECT_DEADLINE, link.open()).await {
            Ok(Ok(connection)) => {
                let number = link.numbers.fetch_add(1, Ordering::Relaxed);
                link.late.store(0, Ordering::Relaxed);
                link.state.send_replace(State::Up(number, connection));
                return;
            }
            Ok(Err(error)) => error,
            Err(_) if link.tls.is_some() => {
                // A server without TLS waits for the end of what it takes for a line.
                "no answer to a new connection (does it speak TLS?)".to_owned()
            }
            Err(_) => "no answer to a new connection".to_owned(),
        };
        let error = format!("{}: {error}", link.place());
        link.state.send_replace(State::Down(error));
        drop(link);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
