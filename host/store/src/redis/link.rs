//! The connection to one Redis server, shared by all calls. It is made in the background, and made
//! again whenever it fails. Not for what is asked over it, nor for which server to ask.
//!
//! The connection is looked after here, not by the driver's manager: that one never connects again
//! after an error other than of I/O (a wrong password that was put right), and lets callers wait
//! for a server that is known to be down.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::{CONNECT_DEADLINE, Connection};
use super::outages::{Outage, Outages};
use super::reply::wants_another_connection;
use super::sentinel::Sentinels;
use super::tls::Tls;
use super::topology::place;
use crate::FarError;

/// For a new connection, if sentinels have to be asked first.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(2);
/// Between two tries to connect.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what sentinels say while nothing fails.
const SENTINEL_PAUSE: Duration = Duration::from_secs(5);
/// So many late replies in a row: the connection is taken for dead, though nobody said so.
const LATE_LIMIT: u32 = 4;

pub struct Link {
    target: Target,
    tls: Option<Arc<Tls>>,
    outages: Arc<Outages>,
    state: watch::Sender<State>,
    numbers: AtomicU64,
    late: AtomicU32,
    /// A connection is being made to replace one that still works, after a fashion.
    renewing: AtomicBool,
}

/// Where a connection leads. A name is looked up anew for each.
pub enum Target {
    Server(ConnectionInfo),
    /// Whatever server sentinels call the primary.
    Primary(Sentinels),
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

impl Link {
    /// Connects to nothing yet.
    pub fn new(target: Target, tls: Option<Arc<Tls>>, outages: Arc<Outages>) -> Arc<Link> {
        Arc::new(Link {
            target,
            tls,
            outages,
            state: watch::Sender::new(State::Idle),
            numbers: AtomicU64::new(0),
            late: AtomicU32::new(0),
            renewing: AtomicBool::new(false),
        })
    }

    pub fn place(&self) -> String {
        match &self.target {
            Target::Server(info) => place(info.addr()),
            Target::Primary(sentinels) => sentinels.to_string(),
        }
    }

    /// The host, as other servers may refer to it by nothing at all.
    pub fn host(&self) -> &str {
        match &self.target {
            Target::Server(info) => match info.addr() {
                ConnectionAddr::Tcp(host, _) => host,
                _ => "",
            },
            Target::Primary(_) => "",
        }
    }

    /// Begins to connect, if nobody has.
    pub fn wake(self: &Arc<Self>) {
        self.reconnect(None, State::Connecting);
    }

    /// Connected, and the last reply was in time.
    pub fn is_in_order(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(..)) && self.late.load(Ordering::Relaxed) == 0
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
            let mut again = true;
            loop {
                let (current, mut connection) = self.connection().await?;
                number = Some(current);
                let replies = connection.exchange(commands).await;
                self.late.store(0, Ordering::Relaxed);
                let replies = match replies {
                    Ok(replies) => replies,
                    Err(error) => {
                        if error.is_unrecoverable_error() || error.is_io_error() {
                            self.reconnect(Some(current), State::Connecting);
                            // Servers and balancers end connections that were idle, and only the
                            // next call shows it. What is asked of far may be asked twice.
                            if std::mem::take(&mut again) {
                                continue;
                            }
                        }
                        return Err(FarError::Unavailable(error.to_string()));
                    }
                };
                if replies.len() != commands.len() {
                    let words = "a reply of an unexpected length";
                    return Err(FarError::Unavailable(words.to_owned()));
                }
                if replies.iter().any(wants_another_connection) {
                    self.renew_only(current);
                }
                return Ok(replies);
            }
        };
        match timeout_at(until, call).await {
            Ok(result) => result,
            Err(_) => {
                if number.is_some() && self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_LIMIT {
                    let error = format!("{}: no answer", self.place());
                    self.reconnect(number, State::Down(error));
                }
                Err(FarError::Late)
            }
        }
    }

    async fn connection(self: &Arc<Self>) -> Result<(u64, Connection), FarError> {
        if let Some(found) = self.look() {
            return found;
        }
        self.wake();
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

    /// Replaces the connection that failed (`None`: makes the first one), in the background; until
    /// there is one, the state is the one given.
    fn reconnect(self: &Arc<Self>, failed: Option<u64>, until: State) {
        let mut first = false;
        let ours = self.state.send_if_modified(|state| {
            first = matches!(state, State::Idle);
            let ours = match state {
                State::Idle => true,
                State::Up(number, _) => failed == Some(*number),
                State::Connecting | State::Down(_) => false,
            };
            if ours {
                *state = until;
            }
            ours
        });
        if ours {
            tokio::spawn(connect(Arc::downgrade(self)));
        }
        if ours && first && matches!(self.target, Target::Primary(_)) {
            tokio::spawn(follow(Arc::downgrade(self)));
        }
    }

    /// Which connection there is, if there is one. The first has number 0.
    pub fn number(&self) -> Option<u64> {
        match &*self.state.borrow() {
            State::Up(number, _) => Some(*number),
            State::Idle | State::Connecting | State::Down(_) => None,
        }
    }

    /// Makes another connection in the background, which then takes the place of the one that there
    /// is: the address may lead to another server by now, or the login may have changed. Until then
    /// the old one serves, as well as it can; once at a time, and not again at once.
    pub fn renew(self: &Arc<Self>) {
        if let Some(number) = self.number() {
            self.renew_only(number);
        }
    }

    fn renew_only(self: &Arc<Self>, number: u64) {
        if !self.renewing.swap(true, Ordering::AcqRel) {
            tokio::spawn(replace(Arc::downgrade(self), number));
        }
    }

    async fn open(&self) -> Result<Connection, String> {
        let tls = self.tls.as_deref();
        let opened = match &self.target {
            Target::Server(info) => timeout(CONNECT_DEADLINE, Connection::open(info, tls)).await,
            Target::Primary(sentinels) => timeout(LOOKUP_DEADLINE, sentinels.connect(tls)).await,
        };
        opened.unwrap_or_else(|_| {
            // A server without TLS waits for the end of what it takes for a line.
            let guess = tls.map_or("", |_| " (does it speak TLS?)");
            Err(format!("no answer to a new connection{guess}"))
        })
    }
}

/// Tries until there is a connection, or nobody has the link any more. Each outage of a server is
/// two lines in the log, beside those of the breaker, which warns: there may be several servers.
async fn connect(link: Weak<Link>) {
    let mut pause = FIRST_PAUSE;
    let mut outage: Option<Outage> = None;
    while let Some(link) = link.upgrade() {
        let error = match link.open().await {
            Ok(connection) => {
                let number = link.numbers.fetch_add(1, Ordering::Relaxed);
                link.late.store(0, Ordering::Relaxed);
                if let Some(outage) = outage {
                    outage.over(&connection.place);
                }
                link.state.send_replace(State::Up(number, connection));
                return;
            }
            Err(error) => error,
        };
        outage.get_or_insert_with(|| link.outages.begin(link.place(), &error));
        let error = format!("{}: {error}", link.place());
        link.state.send_replace(State::Down(error));
        drop(link);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tries until there is another connection in the place of this one, or this one is gone anyway.
async fn replace(link: Weak<Link>, number: u64) {
    let mut pause = FIRST_PAUSE;
    while let Some(link) = link.upgrade() {
        let opened = link.open().await;
        let done = opened.is_ok() || link.number() != Some(number);
        match opened {
            Ok(connection) => {
                let next = link.numbers.fetch_add(1, Ordering::Relaxed);
                link.state.send_if_modified(|state| {
                    let ours = matches!(state, State::Up(current, _) if *current == number);
                    if ours {
                        *state = State::Up(next, connection);
                    }
                    ours
                });
            }
            Err(error) => tracing::debug!(server = link.place(), error, "no better connection"),
        }
        drop(link);
        sleep(pause).await;
        if done {
            break;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if let Some(link) = link.upgrade() {
        link.renewing.store(false, Ordering::Release);
    }
}

/// Looks from time to time whether sentinels call another server the primary, though the one that
/// we are connected to still answers: it may be cut off from them.
async fn follow(link: Weak<Link>) {
    loop {
        sleep(SENTINEL_PAUSE).await;
        let Some(link) = link.upgrade() else {
            return;
        };
        let Target::Primary(sentinels) = &link.target else {
            return;
        };
        let Some(Ok((number, connection))) = link.look() else {
            continue;
        };
        let named = sentinels.primaries(link.tls.as_deref()).await;
        let other = named.is_ok_and(|named| {
            named
                .first()
                .is_some_and(|node| *node.to_string() != *connection.place)
        });
        if other {
            link.renew_only(number);
        }
    }
}
