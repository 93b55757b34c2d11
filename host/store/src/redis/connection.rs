//! A new connection to a Redis server: made, logged in, and known to answer. Not for looking after
//! it (`link.rs`).
//!
//! The login is ours, not the driver's: that one says `Password authentication failed` of whatever
//! a server answers, a lack of room or its protected mode included.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerError, Value,
};

use super::reply::words;
use super::tls::Tls;
use super::topology::place;

/// For a new connection, password check included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Connection {
    calls: MultiplexedConnection,
    /// Where it leads, as `HOST:PORT`.
    pub place: Arc<str>,
    /// What moves the bytes, if the driver does not see to that itself; ends with the last call.
    _mover: Option<Arc<Mover>>,
}

struct Mover(tokio::task::JoinHandle<()>);

impl Drop for Mover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// The caller bounds it.
    pub async fn open(info: &ConnectionInfo, tls: Option<&Tls>) -> Result<Connection, String> {
        // Deadlines are ours, per call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(None);
        // No word of the driver's own: proxies and users of few rights take commands amiss.
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (calls, mover) = match (tls, info.addr()) {
            (Some(tls), ConnectionAddr::Tcp(host, port)) => {
                let stream = tls.connect(host, *port).await?;
                let (calls, mover) =
                    MultiplexedConnection::new_with_config(&silent, stream, config)
                        .await
                        .map_err(|error| error.to_string())?;
                (calls, Some(Arc::new(Mover(tokio::spawn(mover)))))
            }
            _ => {
                let client = Client::open(info.clone().set_redis_settings(silent))
                    .map_err(|error| error.to_string())?;
                let calls = client.get_multiplexed_async_connection_with_config(&config);
                (calls.await.map_err(|error| error.to_string())?, None)
            }
        };
        let mut connection = Connection {
            calls,
            place: place(info.addr()).into(),
            _mover: mover,
        };
        let greeted = connection.greet(info.redis_settings(), true).await;
        greeted.map_err(|error| match error {
            // It let us in, and hung up at our first word.
            Fault::Call(error) if tls.is_none() && error.is_connection_dropped() => {
                format!("{error} (does it want TLS, rediss://?)")
            }
            Fault::Call(error) => error.to_string(),
            Fault::Refused(words) => words,
        })?;
        Ok(connection)
    }

    /// The replies to all commands, errors of single ones among them.
    pub async fn exchange(&mut self, commands: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let count = commands.len();
        self.calls.send_packed_commands(commands, 0, count).await
    }

    /// Logs in, and sees whether the server talks to us at all.
    async fn greet(&mut self, login: &RedisConnectionInfo, with_user: bool) -> Result<(), Fault> {
        let mut greeting = Pipeline::new();
        let log_in = log_in(login, with_user);
        let logs_in = log_in.is_some();
        if let Some(log_in) = log_in {
            greeting.add_command(log_in);
        }
        let selects = login.db() != 0;
        if selects {
            greeting.cmd("SELECT").arg(login.db());
        }
        if greeting.is_empty() {
            greeting.cmd("PING");
        }
        let replies = self.exchange(&greeting).await.map_err(Fault::Call)?;
        let mut replies = replies.into_iter();
        let refused = |words| Err(Fault::Refused(words));
        if logs_in && let Some(Value::ServerError(error)) = replies.next() {
            let old = error
                .details()
                .is_some_and(|text| text.contains("wrong number of arguments"));
            if old && with_user && login.username().is_some() {
                // Redis before 6 has passwords and no users.
                return Box::pin(self.greet(login, false)).await;
            }
            return refused(match turns_us_away(&error) {
                true => words(&error),
                false => format!("authentication failed: {}", masked(&words(&error), login)),
            });
        }
        if selects && let Some(Value::ServerError(error)) = replies.next() {
            let number = login.db();
            return refused(format!("no database {number}: {}", words(&error)));
        }
        match replies.next() {
            Some(Value::ServerError(error)) if turns_us_away(&error) => refused(words(&error)),
            // Any other answer to a PING will do.
            _ => Ok(()),
        }
    }
}

enum Fault {
    Call(RedisError),
    Refused(String),
}

/// Whatever a server says of a login, it does not repeat the password to our log.
fn masked(words: &str, login: &RedisConnectionInfo) -> String {
    match login.password() {
        Some(password) if !password.is_empty() => words.replace(password, "***"),
        _ => words.to_owned(),
    }
}

fn log_in(login: &RedisConnectionInfo, with_user: bool) -> Option<Cmd> {
    let user = login.username().filter(|_| with_user);
    let newer = login.protocol() == redis::ProtocolVersion::RESP3;
    let mut command = redis::cmd(if newer { "HELLO" } else { "AUTH" });
    if newer {
        command.arg(3);
    }
    match (newer, user, login.password()) {
        (true, user, Some(password)) => {
            command
                .arg("AUTH")
                .arg(user.unwrap_or("default"))
                .arg(password);
        }
        (false, user, Some(password)) => {
            command.arg(user).arg(password);
        }
        (true, _, None) => {}
        (false, _, None) => return None,
    }
    Some(command)
}

/// Nothing that is asked over this connection will be answered.
fn turns_us_away(error: &ServerError) -> bool {
    matches!(error.code(), "NOAUTH" | "DENIED")
        || error
            .details()
            .is_some_and(|text| text.contains("max number of clients"))
}
