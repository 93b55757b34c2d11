//! Which server is the primary: what sentinels say, and whether it is true. Not for keeping the
//! connection to it (`link.rs`).
//!
//! The driver's own sentinel client is not used: it asks one after the other, so one that hangs is
//! waited for at each failover, and it has a TLS of its own (`tls.rs`).

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use redis::{ConnectionAddr, ConnectionInfo, Pipeline, Value};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::reply::words;
use super::tls::Tls;
use super::topology::{Node, place};

/// For what sentinels say; it is over sooner if most of them agree.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// For a server to prove that it is a primary.
const PROOF_DEADLINE: Duration = Duration::from_millis(700);

#[derive(Clone)]
pub struct Sentinels {
    /// How to get to each of them.
    pub sentinels: Vec<ConnectionInfo>,
    /// Under which they know the primary.
    pub name: String,
    /// How to log in to the primary; its address is what they say.
    pub login: ConnectionInfo,
}

impl Sentinels {
    /// A connection to the server that most of them call the primary, of those that prove to be
    /// one.
    pub async fn connect(&self, tls: Option<&Tls>) -> Result<Connection, String> {
        let mut failed = String::new();
        for node in self.primaries(tls).await? {
            match timeout(PROOF_DEADLINE, self.prove(&node, tls)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failed = format!("{node}: {error}"),
                Err(_) => failed = format!("{node}: no answer in time"),
            }
        }
        Err(format!("the primary {}: {failed}", self.name))
    }

    /// The servers that sentinels call the primary, the one that most of them name first. They are
    /// all asked at once: one that hangs or knows nothing does no harm. Never empty.
    pub async fn primaries(&self, tls: Option<&Tls>) -> Result<Vec<Node>, String> {
        let until = Instant::now() + ANSWER_DEADLINE;
        let asked = self.sentinels.iter().map(|sentinel| async move {
            let answer = timeout_at(until, self.ask(sentinel, tls)).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            answer.map_err(|error| format!("sentinel {}: {error}", place(sentinel.addr())))
        });
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut named: Vec<(usize, Node)> = Vec::new();
        let mut failed = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(node) => match named.iter_mut().find(|(_, known)| *known == node) {
                    Some((votes, _)) => *votes += 1,
                    None => named.push((1, node)),
                },
                Err(error) => failed.push(error),
            }
            if named
                .iter()
                .any(|(votes, _)| *votes > self.sentinels.len() / 2)
            {
                break;
            }
        }
        if named.is_empty() {
            return Err(failed.join("; "));
        }
        named.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
        Ok(named.into_iter().map(|(_, node)| node).collect())
    }

    async fn ask(&self, sentinel: &ConnectionInfo, tls: Option<&Tls>) -> Result<Node, String> {
        let mut question = Pipeline::new();
        let ask = question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME");
        ask.arg(&self.name);
        let mut connection = Connection::open(sentinel, tls).await?;
        let replies = connection.exchange(&question).await;
        let replies = replies.map_err(|error| error.to_string())?;
        match replies.first() {
            Some(Value::Array(address)) => {
                node(address).ok_or_else(|| "what it says of the primary cannot be read".to_owned())
            }
            Some(Value::Nil) => Err(format!("it knows no primary named {}", self.name)),
            Some(Value::ServerError(error)) => Err(words(error)),
            _ => Err("a reply of an unexpected type".to_owned()),
        }
    }

    /// Sentinels may be behind, and a server may be demoted at any time.
    async fn prove(&self, node: &Node, tls: Option<&Tls>) -> Result<Connection, String> {
        let address = ConnectionAddr::Tcp(node.host.clone(), node.port);
        let mut connection = Connection::open(&self.login.clone().set_addr(address), tls).await?;
        let mut question = Pipeline::new();
        question.cmd("ROLE");
        let replies = connection.exchange(&question).await;
        let replies = replies.map_err(|error| error.to_string())?;
        let role = match replies.first() {
            Some(Value::Array(role)) => role.first().and_then(text),
            Some(Value::ServerError(error)) => return Err(words(error)),
            _ => None,
        };
        match role {
            Some("master") => Ok(connection),
            Some("slave") => Err("it is a replica".to_owned()),
            _ => Err("it does not say that it is a primary".to_owned()),
        }
    }
}

fn node(address: &[Value]) -> Option<Node> {
    let [host, port] = address else {
        return None;
    };
    let (host, port) = (text(host)?, text(port)?.parse().ok()?);
    (!host.is_empty() && port != 0).then(|| Node {
        host: host.to_owned(),
        port,
    })
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// `primary NAME by the sentinels at HOST:PORT, HOST:PORT`.
impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.sentinels.iter().map(|at| place(at.addr())).collect();
        write!(
            f,
            "primary {} by the sentinels at {}",
            self.name,
            places.join(", ")
        )
    }
}
