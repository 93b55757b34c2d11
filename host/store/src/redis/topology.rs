//! Where a server of Redis is, and which node of a Redis Cluster serves which keys: what `CLUSTER
//! SLOTS` and redirections say. Not for connections.

use std::fmt;

use crc::{CRC_16_XMODEM, Crc};
use redis::{ConnectionAddr, Value};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
const SLOTS: u16 = 16384;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Where an address leads, as people write it.
pub fn place(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, port) => Node {
            host: host.clone(),
            port: *port,
        }
        .to_string(),
        other => other.to_string(),
    }
}

/// The slot of a key: of what stands in its first braces, if there are any and something is inside.
pub fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    CRC.checksum(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// Ranges of slots with the node that serves each, as `CLUSTER SLOTS` gives them: first slot, last
/// slot, the master, its replicas. `asked` is the host that gave the reply: nodes that do not know
/// their own name leave it out. What cannot be read is left out too: its keys are then nobody's.
pub fn ranges(reply: &Value, asked: &str) -> Vec<(u16, u16, Node)> {
    let Value::Array(entries) = reply else {
        return Vec::new();
    };
    let mut ranges: Vec<(u16, u16, Node)> = entries
        .iter()
        .filter_map(|entry| {
            let Value::Array(entry) = entry else {
                return None;
            };
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(master),
                ..,
            ] = &entry[..]
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else {
                return None;
            };
            let host = match host {
                Value::BulkString(host) => std::str::from_utf8(host).ok()?,
                Value::Nil => "",
                _ => return None,
            };
            let first = u16::try_from(*first).ok()?;
            let last = u16::try_from(*last).ok()?;
            let node = node(host, u16::try_from(*port).ok()?, asked)?;
            (first <= last && last < SLOTS).then_some((first, last, node))
        })
        .collect();
    ranges.sort_by_key(|(first, ..)| *first);
    ranges
}

fn node(host: &str, port: u16, asked: &str) -> Option<Node> {
    let host = match host {
        "" | "0.0.0.0" | "::" => asked,
        // The node knows that there is one, and not where.
        "?" => return None,
        host => host,
    };
    (!host.is_empty() && port != 0).then(|| Node {
        host: host.to_owned(),
        port,
    })
}

/// Where a reply sends the caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot has a new node.
    Moved(Node),
    /// This key is elsewhere already: the slot is on its way.
    Ask(Node),
}

/// `MOVED 3999 HOST:PORT`, `ASK 3999 HOST:PORT`.
pub fn redirect(reply: &Value, asked: &str) -> Option<Redirect> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    let kind = match error.code() {
        "MOVED" => Redirect::Moved,
        "ASK" => Redirect::Ask,
        _ => return None,
    };
    let (_slot, place) = error.details()?.split_once(' ')?;
    let (host, port) = place.trim().rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    node(host, port.parse().ok()?, asked).map(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn entry(first: i64, last: i64, host: Value, port: i64) -> Value {
        let master = Value::Array(vec![
            host,
            Value::Int(port),
            text("id"),
            Value::Array(vec![]),
        ]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    fn at(host: &str, port: u16) -> Node {
        let host = host.to_owned();
        Node { host, port }
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` gives them.
        assert_eq!(slot("123456789"), 12739);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot(""), 0);
        assert_eq!(slot("a{foo}b"), slot("foo"));
        assert_eq!(slot("a{foo}{bar}"), slot("foo"));
        assert_eq!(slot("foo{}{bar}"), 8363);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_ne!(slot("a{foo"), slot("foo"));
    }

    #[test]
    fn nodes_without_a_name_are_the_one_that_was_asked() {
        let reply = Value::Array(vec![
            entry(8000, 16383, text("10.0.0.2"), 7001),
            entry(0, 10, Value::Nil, 7000),
            entry(11, 20, text(""), 7002),
            entry(21, 30, text("?"), 7003),
        ]);
        assert_eq!(
            ranges(&reply, "seed"),
            [
                (0, 10, at("seed", 7000)),
                (11, 20, at("seed", 7002)),
                (8000, 16383, at("10.0.0.2", 7001))
            ]
        );
    }

    #[test]
    fn nonsense_is_left_out() {
        let reply = Value::Array(vec![
            Value::Nil,
            Value::Array(vec![]),
            entry(5, 4, text("a"), 1),
            entry(0, 16384, text("a"), 1),
            entry(-1, 4, text("a"), 1),
            entry(0, 4, text("a"), 0),
            entry(0, 4, text("a"), 70000),
            entry(0, 4, Value::Int(1), 1),
            entry(0, 4, Value::BulkString(vec![0xff]), 1),
        ]);
        assert_eq!(ranges(&reply, "seed"), []);
        assert_eq!(ranges(&Value::Okay, "seed"), []);
    }

    #[test]
    fn redirections_are_read_and_other_errors_are_not() {
        let error = |line: &str| redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        let read = |line: &str| redirect(&error(line).expect("a reply"), "asked");
        assert_eq!(
            read("MOVED 3999 127.0.0.1:6381"),
            Some(Redirect::Moved(at("127.0.0.1", 6381)))
        );
        assert_eq!(
            read("ASK 3999 ::1:6381"),
            Some(Redirect::Ask(at("::1", 6381)))
        );
        assert_eq!(
            read("MOVED 3999 :6381"),
            Some(Redirect::Moved(at("asked", 6381)))
        );
        for other in [
            "MOVED",
            "MOVED 3999",
            "MOVED 3999 a",
            "MOVED 3999 a:b",
            "MOVED 1 ?:1",
            "ERR x",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(redirect(&text("MOVED 3999 127.0.0.1:6381"), "asked"), None);
    }
}
