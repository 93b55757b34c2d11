//! The far cache in Redis, one server, one that sentinels name, or a cluster, with or without TLS:
//! values under a key for a time (rules A1 to A6). Not for what makes a value usable: whatever
//! Redis answers is judged elsewhere.

mod address;
mod cluster;
mod connection;
mod link;
mod outages;
mod reply;
mod sentinel;
mod tls;
mod topology;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Script, Value};
use tokio::time::Instant;

pub use self::address::UrlError;
pub use self::tls::{Authorities, AuthoritiesError};

use self::address::Address;
use self::cluster::Cluster;
use self::link::{Link, Target};
use self::outages::Outages;
use self::reply::{refusal, value};
use self::tls::Tls;
use super::{FAR_FORMAT, FAR_HEADER, Far, FarError};

/// Whether a URL can be read, before anything is connected to.
pub fn check_url(url: &str) -> Result<(), String> {
    let read = Address::parse(url).map(drop);
    read.map_err(|error| error.to_string())
}

/// A4. What is stored and cannot be read, of another type included, is overwritten. Digits are
/// compared as numbers: they are below 2^53, and the order of strings depends on the locale. Errors
/// are caught and returned, with the command: servers before 7 wrap those that are not, and hide
/// their kind, and what a script may not do is an error without a name. The first argument is
/// `PADDING`.
static PUT: LazyLock<(String, Script)> = LazyLock::new(|| {
    let last = FAR_HEADER - 1;
    let source = format!(
        "local function failed(command, reply)
            return {{err = reply.err .. ' (' .. command .. ' by the script)'}}
        end
        local header = redis.pcall('GETRANGE', KEYS[1], 0, {last})
        if type(header) == 'table' and not string.find(header.err, 'WRONGTYPE', 1, true) then
            return failed('getrange', header)
        end
        if type(header) == 'string' and #header == {FAR_HEADER}
            and string.sub(header, 1, 2) == '{FAR_FORMAT}' and header ~= ARGV[3] then
            local old = string.match(string.sub(header, 3, 22), '^%d+$')
            local new = string.match(string.sub(ARGV[2], 3, 22), '^%d+$')
            if old and new and tonumber(old) >= tonumber(new) then return 0 end
        end
        local set = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
        if set.err then return failed('set', set) end
        return 1"
    );
    let script = Script::new(&source);
    (source, script)
});

/// A server that lacks a command repeats the first 128 bytes that it was given, in a line that the
/// driver takes for the end of the connection if they are no text; values are none. These and what
/// stands before them are as many.
const PADDING: &str = "----------------------------------------------------------------";

/// Look-ups and puts go over connections of their own: puts that are held up, by their size or by a
/// server that pauses writes, hold up no look-up.
pub struct RedisFar {
    reads: Servers,
    writes: Servers,
    /// Puts have begun to connect.
    woken: AtomicBool,
    /// The connection of puts that the one of look-ups has followed.
    followed: AtomicU64,
    deadline: Duration,
    place: String,
    tls: bool,
}

enum Servers {
    One(Arc<Link>),
    Cluster(Arc<Cluster>),
}

impl Servers {
    /// Connects to nothing yet.
    fn new(address: address::Servers, tls: Option<Arc<Tls>>, outages: Arc<Outages>) -> Servers {
        match address {
            address::Servers::One(info) => {
                Servers::One(Link::new(Target::Server(info), tls, outages))
            }
            address::Servers::Primary(sentinels) => {
                Servers::One(Link::new(Target::Primary(sentinels), tls, outages))
            }
            address::Servers::Cluster { first, seeds } => {
                Servers::Cluster(Cluster::new(first, seeds, tls, outages))
            }
        }
    }

    /// Begins to connect.
    fn wake(&self) {
        match self {
            Servers::One(link) => link.wake(),
            Servers::Cluster(cluster) => cluster.wake(),
        }
    }

    /// The replies to commands of one key each, in order. `until` is the deadline.
    async fn ask(
        &self,
        commands: Vec<(&str, Cmd)>,
        until: Instant,
    ) -> Result<Vec<Value>, FarError> {
        match self {
            Servers::Cluster(cluster) => cluster.exchange(&commands, until).await,
            Servers::One(link) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for (_, command) in commands {
                    pipeline.add_command(command);
                }
                link.exchange(&pipeline, until).await
            }
        }
    }

    async fn ask_one(&self, key: &str, command: Cmd, until: Instant) -> Result<Value, FarError> {
        let replies = self.ask(vec![(key, command)], until).await?;
        Ok(replies.into_iter().next().unwrap_or(Value::Nil))
    }
}

/// Why a Redis cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl RedisFar {
    /// Connects to nothing yet: the server may be down, or come later. Fails on a URL that cannot
    /// be read.
    pub fn connect(url: &str, deadline: Duration) -> Result<RedisFar, OpenError> {
        RedisFar::connect_believing(Authorities::default(), url, deadline)
    }

    /// As `connect`, with authorities that servers may be certified by, beside those of the system.
    pub fn connect_believing(
        authorities: Authorities,
        url: &str,
        deadline: Duration,
    ) -> Result<RedisFar, OpenError> {
        let address = Address::parse(url)?;
        let place = address.to_string();
        let uses_tls = address.tls;
        let tls = match uses_tls {
            true => Some(Arc::new(Tls::new(authorities)?)),
            false => None,
        };
        let outages = Arc::new(Outages::default());
        Ok(RedisFar {
            reads: Servers::new(address.servers.clone(), tls.clone(), outages.clone()),
            writes: Servers::new(address.servers, tls, outages),
            woken: AtomicBool::new(false),
            followed: AtomicU64::new(0),
            deadline,
            place,
            tls: uses_tls,
        })
    }

    pub fn uses_tls(&self) -> bool {
        self.tls
    }

    /// A put over a new connection was taken: the address may lead to another server now, so
    /// look-ups go there as well, though the one that they ask still answers.
    fn follow_writes(&self) {
        let (Servers::One(reads), Servers::One(writes)) = (&self.reads, &self.writes) else {
            return;
        };
        if let Some(number) = writes.number()
            && self.followed.swap(number, Ordering::Relaxed) != number
        {
            reads.renew();
        }
    }
}

#[async_trait]
impl Far for RedisFar {
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, FarError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if !self.woken.load(Ordering::Relaxed) && !self.woken.swap(true, Ordering::Relaxed) {
            self.writes.wake();
        }
        // GETs, not MGET: keys may belong to different nodes (A1).
        let commands = keys.iter().map(|key| (&**key, Cmd::get(key))).collect();
        let until = Instant::now() + self.deadline;
        let replies = self.reads.ask(commands, until).await?;
        replies.into_iter().map(value).collect()
    }

    async fn put(
        &self,
        key: &str,
        value: &[u8],
        seen: &[u8],
        ttl: Duration,
    ) -> Result<bool, FarError> {
        let until = Instant::now() + self.deadline;
        // Redis refuses a life of 0.
        let ttl = u64::try_from(ttl.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(1, 1 << 52);
        let run = |command: &str, script: &str| {
            let mut command = redis::cmd(command);
            command.arg(script).arg(1).arg(key).arg(PADDING);
            command.arg(value).arg(seen).arg(ttl);
            command
        };
        let (source, script) = &*PUT;
        let known = run("EVALSHA", script.get_hash());
        let mut reply = self.writes.ask_one(key, known, until).await?;
        if matches!(&reply, Value::ServerError(error) if error.code() == "NOSCRIPT") {
            // Each server learns the script once, and forgets it when it is restarted.
            reply = self.writes.ask_one(key, run("EVAL", source), until).await?;
        }
        match reply {
            Value::Int(stored) => {
                self.follow_writes();
                Ok(stored == 1)
            }
            other => Err(refusal(&other)),
        }
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    fn fails_in_part(&self) -> bool {
        match &self.reads {
            Servers::One(_) => false,
            Servers::Cluster(cluster) => cluster.has_a_node(),
        }
    }
}
