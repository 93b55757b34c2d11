//! Reads a database URL as libpq does: one host or several, IPv6 literals, sockets, lists in the
//! query, `target_session_attrs`. The driver knows one host only. Not for connecting
//! (`servers.rs`).

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// Parameters of a query that the driver understands; others are libpq's, and left out.
const KNOWN: [&str; 16] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "options[",
];
const DEFAULT_PORT: u16 = 5432;

/// What a URL names.
#[derive(Debug, Clone)]
pub struct Address {
    /// One for each host, in order; at least one.
    pub hosts: Vec<PgConnectOptions>,
    pub wanted: Wanted,
}

/// Which of several servers is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The primary, as everything here needs it.
    Primary,
    /// One whose sessions may write (`target_session_attrs=read-write`).
    Writable,
}

/// The error says what is wrong and nothing of what is in the URL.
pub fn parse(url: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err("the database URL must begin with postgres://".to_owned());
    }
    let rest = rest.split('#').next().unwrap_or(rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // Without a user, it belongs to a password with a `/` in it.
    if path.contains('@') && !authority.contains('@') {
        return Err(unreadable());
    }
    // The last `@`: a user may be called `me@corp`.
    let (user, places) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let query = Query::read(query)?;
    let mut places = places
        .split(',')
        .map(place)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(named) = query.hosts {
        places = named.into_iter().map(|host| (host, None)).collect();
    }
    let ports = match &query.ports[..] {
        [] => vec![None; places.len()],
        [one] => vec![*one; places.len()],
        several if several.len() == places.len() => several.to_vec(),
        several => {
            let (ports, hosts) = (several.len(), places.len());
            return Err(format!(
                "the database URL has {ports} ports for {hosts} hosts: give one, or one each"
            ));
        }
    };
    let hosts = places.into_iter().zip(ports).map(|((host, own), listed)| {
        let port = listed.or(own);
        one(user, &host, port, path, &query.rest)
    });
    Ok(Address {
        hosts: hosts.collect::<Result<_, _>>()?,
        wanted: query.wanted,
    })
}

fn is_word(name: &str) -> bool {
    let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.chars().all(within)
}

fn unreadable() -> String {
    "the database URL cannot be read: postgres://USER:PASSWORD@HOST:PORT/DATABASE is expected, with % for \
     special characters and commas between several HOST:PORT"
        .to_owned()
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| unreadable())
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; an empty host is the driver's default.
fn place(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(literal) => {
            let (address, rest) = literal.split_once(']').ok_or_else(unreadable)?;
            let port = match rest {
                "" => None,
                rest => Some(rest.strip_prefix(':').ok_or_else(unreadable)?),
            };
            (address, port)
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(
                    "an IPv6 address in the database URL needs brackets: [::1]:5432".to_owned(),
                );
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    Ok((decoded(host)?, port.map_or(Ok(None), port_of)?))
}

/// An empty port is the default, as in libpq.
fn port_of(text: &str) -> Result<Option<u16>, String> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err("a port in the database URL is no number from 1 to 65535".to_owned()),
        },
    }
}

/// Through the driver's own reader, so that user, password and everything else mean what they mean
/// there.
fn one(
    user: &str,
    host: &str,
    port: Option<u16>,
    path: &str,
    query: &str,
) -> Result<PgConnectOptions, String> {
    let default = PgConnectOptions::new_without_pgpass();
    let host = match host {
        "" => default.get_host(),
        host => host,
    };
    let port = port.unwrap_or(match std::env::var_os("PGPORT") {
        Some(_) => default.get_port(),
        None => DEFAULT_PORT,
    });
    // Whole, for the file of passwords is asked by host and port.
    let literal = host.contains(':');
    let shown = match literal {
        true => format!("[{}]", host.split('%').next().unwrap_or(host)),
        false => utf8_percent_encode(host, NON_ALPHANUMERIC).to_string(),
    };
    let url = format!("postgres://{user}{shown}:{port}{path}?{query}");
    let options = PgConnectOptions::from_str(&url).map_err(|_| unreadable())?;
    let options = match (literal, host.starts_with('/')) {
        (_, true) => options.socket(host),
        (true, _) => options.host(host),
        (false, _) => options.host(host.trim_end_matches('.')),
    };
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("ordain"),
    };
    // Poolers refuse it, and no answer of ours is a float.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

struct Query {
    hosts: Option<Vec<String>>,
    ports: Vec<Option<u16>>,
    wanted: Wanted,
    /// What is the driver's to read.
    rest: String,
}

impl Query {
    fn read(text: &str) -> Result<Query, String> {
        let mut query = Query {
            hosts: None,
            ports: Vec::new(),
            wanted: Wanted::Primary,
            rest: String::new(),
        };
        let mut addresses = None;
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name)?;
            let list = |value: String| value.split(',').map(str::to_owned).collect::<Vec<_>>();
            match &*name {
                "host" => query.hosts = Some(list(decoded(value)?)),
                "hostaddr" => addresses = Some(list(decoded(value)?)),
                "port" => {
                    let ports = decoded(value)?;
                    query.ports = ports.split(',').map(port_of).collect::<Result<_, _>>()?;
                }
                "target_session_attrs" => query.wanted = wanted(&decoded(value)?)?,
                name if KNOWN.contains(&name) || name.starts_with("options[") => {
                    query.rest.push_str(pair);
                    query.rest.push('&');
                }
                // No name, but a part of something that was meant otherwise: of a password,
                // perhaps.
                name if !is_word(name) => return Err(unreadable()),
                // Its name only: a value may be a password under a mistyped name.
                name => warn_of(name),
            }
        }
        query.hosts = addresses.or(query.hosts);
        Ok(query)
    }
}

/// Once: a URL is read by whoever uses it.
fn warn_of(name: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.insert(name.to_owned()) {
        tracing::warn!(
            name,
            "a parameter of the database URL is not known and ignored"
        );
    }
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "any" | "primary" => Ok(Wanted::Primary),
        "read-write" => Ok(Wanted::Writable),
        "read-only" | "standby" | "prefer-standby" => Err(
            "target_session_attrs in the database URL must be read-write, primary or any: \
             a replica is of no use, since it shows what the primary showed earlier"
                .to_owned(),
        ),
        _ => Err(
            "target_session_attrs in the database URL is none of read-write, primary, any"
                .to_owned(),
        ),
    }
}

/// Where it is, without who goes there.
pub fn place_of(hosts: &[PgConnectOptions]) -> String {
    let place = |options: &PgConnectOptions| match options.get_socket() {
        Some(directory) => directory.display().to_string(),
        None if options.get_host().contains(':') => {
            format!("[{}]:{}", options.get_host(), options.get_port())
        }
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let places: Vec<String> = hosts.iter().map(place).collect();
    let database = hosts.first().map_or("", |first| {
        first.get_database().unwrap_or(first.get_username())
    });
    format!("postgres at {}/{database}", places.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> String {
        place_of(&parse(url).expect("a proper URL").hosts)
    }

    #[test]
    fn hosts_are_read_in_all_forms_of_libpq() {
        for (url, place) in [
            ("postgres://u@h/d", "h:5432/d"),
            ("postgresql://u:p@h:5433/d", "h:5433/d"),
            ("postgresql://postgres@[::1]:5432/db", "[::1]:5432/db"),
            ("postgres://u@[2001:db8::7]/d", "[2001:db8::7]:5432/d"),
            ("postgres://u@h1:1,h2:2/d", "h1:1,h2:2/d"),
            ("postgres://u@h1,[::1]:7,h3/d", "h1:5432,[::1]:7,h3:5432/d"),
            ("postgres://u@me@h1,h2/d", "h1:5432,h2:5432/d"),
            ("postgres://u@%2Fvar%2Frun/d", "/var/run/d"),
            ("postgres://u@h%2Dx/d%20e", "h-x:5432/d e"),
            ("postgres://u@localhost/d?host=/tmp", "/tmp/d"),
            ("postgres:///d?host=h1,h2&port=1,2&user=u", "h1:1,h2:2/d"),
            ("postgres:///d?host=h1,h2&port=7", "h1:7,h2:7/d"),
            (
                "postgres:///d?hostaddr=::1,127.0.0.1",
                "[::1]:5432,127.0.0.1:5432/d",
            ),
            ("postgres://u:%40%2F%3F@h/d", "h:5432/d"),
            ("postgres://h?dbname=d", "h:5432/d"),
        ] {
            assert_eq!(places(url), format!("postgres at {place}"), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_a_word_of_what_is_in_it() {
        for url in [
            "mysql://s3cret@h/d",
            "s3cret",
            "postgres://u:s3cret@h:0/d",
            "postgres://u:s3cret@h:99999/d",
            "postgres://u:s3cret@::1/d",
            "postgres://u:s3cret@[::1/d",
            "postgres://u:s3cret@[::1]x/d",
            "postgres://u:s3cret@h1,h2,h3/d?port=1,2",
            "postgres://u:s3cret@h/d?target_session_attrs=standby",
            "postgres://u:s3cret@h/d?target_session_attrs=s3cret",
            "postgres://u:s3cret@h/d?sslmode=s3cret",
        ] {
            let why = parse(url).expect_err(url);
            assert!(!why.contains("s3cret"), "{url}: {why}");
        }
    }

    #[test]
    fn which_server_is_wanted_is_said_by_target_session_attrs() {
        let wanted = |url| parse(url).expect("a proper URL").wanted;
        assert_eq!(wanted("postgres://h1,h2/d"), Wanted::Primary);
        assert_eq!(
            wanted("postgres://h1,h2/d?target_session_attrs=any"),
            Wanted::Primary
        );
        let writable = "postgres://h1,h2/d?sslmode=disable&target_session_attrs=read-write";
        assert_eq!(wanted(writable), Wanted::Writable);
    }
}
