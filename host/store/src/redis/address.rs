//! What a Redis URL says: which servers, whether by TLS, and how to log in. Not for connecting, and
//! what is shown of it has neither user nor password.

use std::fmt;

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::sentinel::Sentinels;
use super::topology::{Node, place};

/// A URL that cannot be used; the text repeats no part of it, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Redis URL cannot be read: {0}")]
pub struct UrlError(&'static str);

const FORMS: &str = "redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss://... (by TLS), \
     redis+unix:///PATH, redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT, rediss+cluster://..., \
     redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME or rediss+sentinel://... is expected";

/// Where sentinels listen unless something else is said.
const SENTINEL_PORT: u16 = 26379;

pub struct Address {
    pub servers: Servers,
    pub tls: bool,
}

#[derive(Clone)]
pub enum Servers {
    One(ConnectionInfo),
    /// The one that sentinels name.
    Primary(Sentinels),
    /// Some of the nodes; there may be more.
    Cluster {
        /// At the first of them; all have the login in common.
        first: ConnectionInfo,
        seeds: Vec<Node>,
    },
}

impl Address {
    pub fn parse(url: &str) -> Result<Address, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError(FORMS))?;
        let scheme = scheme.to_ascii_lowercase();
        let (kind, several) = match scheme.split_once('+') {
            Some((kind, several @ ("cluster" | "sentinel"))) => (kind, several),
            _ => (&*scheme, ""),
        };
        let tls = matches!(kind, "rediss" | "valkeys");
        if tls && rest.contains('#') {
            // The driver's own `#insecure` would be a way around the certificates.
            return Err(UrlError(
                "certificates are always verified, so nothing may follow a # (in a password it is \
                 written %23)",
            ));
        }
        // TLS is done here, not by the driver.
        let plain = if tls { "redis" } else { kind };
        let servers = match several {
            "cluster" => seeds(plain, rest)?,
            "sentinel" => Servers::Primary(sentinels(plain, rest)?),
            _ => Servers::One(server(&format!("{plain}://{rest}"))?),
        };
        Ok(Address { servers, tls })
    }
}

fn server(url: &str) -> Result<ConnectionInfo, UrlError> {
    // The driver's own words may repeat parts of the URL.
    url.into_connection_info().map_err(|_| UrlError(FORMS))
}

fn seeds(scheme: &str, rest: &str) -> Result<Servers, UrlError> {
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    if login.matches('@').count() > 1 {
        return Err(UrlError(
            "user and password of a cluster stand once, before the first host, and an @ in them is \
             written %40",
        ));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (hosts, tail) = rest.split_at(end);
    let mut first = None;
    let mut seeds = Vec::new();
    for host in hosts.split(',') {
        let info = server(&format!("{scheme}://{login}{}{tail}", host.trim()))?;
        if info.redis_settings().db() != 0 {
            return Err(UrlError("a Redis Cluster has no database but 0"));
        }
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(UrlError(FORMS));
        };
        seeds.push(Node {
            host: host.clone(),
            port: *port,
        });
        first.get_or_insert(info);
    }
    let first = first.ok_or(UrlError(FORMS))?;
    Ok(Servers::Cluster { first, seeds })
}

/// `USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/NUMBER?...`: the login is for the primary, the one for
/// the sentinels is in the query.
fn sentinels(scheme: &str, rest: &str) -> Result<Sentinels, UrlError> {
    if rest.contains('#') {
        return Err(UrlError("a # is written %23"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, place) = match place.rsplit_once('@') {
        Some((login, place)) => (format!("{login}@"), place),
        None => (String::new(), place),
    };
    if login.matches('@').count() > 1 {
        return Err(UrlError(
            "user and password stand once, before the first sentinel, and an @ in them is written %40",
        ));
    }
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    let name = decoded(name)?;
    if name.is_empty() {
        return Err(UrlError(
            "the name under which the sentinels know the primary is missing: \
             redis+sentinel://HOST:PORT,HOST:PORT/NAME",
        ));
    }
    let mut theirs = RedisConnectionInfo::default();
    let mut protocol = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_username", user)) => theirs = theirs.set_username(decoded(user)?),
            Some(("sentinel_password", word)) => theirs = theirs.set_password(decoded(word)?),
            Some(("protocol", _)) => protocol = format!("?{pair}"),
            _ => {
                return Err(UrlError(
                    "after the ? of redis+sentinel:// there may be sentinel_username, \
                     sentinel_password and protocol",
                ));
            }
        }
    }
    if theirs.username().is_some() && theirs.password().is_none() {
        return Err(UrlError("sentinel_username needs sentinel_password"));
    }
    let mut sentinels = Vec::new();
    for host in hosts.split(',') {
        let host = host.trim();
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let at = match has_port {
            true => host.to_owned(),
            false => format!("{host}:{SENTINEL_PORT}"),
        };
        sentinels.push(server(&format!("{scheme}://{at}"))?.set_redis_settings(theirs.clone()));
    }
    // Of the primary all is known but where it is.
    let login = server(&format!("{scheme}://{login}primary/{number}{protocol}"))?;
    Ok(Sentinels {
        sentinels,
        name,
        login,
    })
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let text = percent_decode_str(text).decode_utf8();
    Ok(text.map_err(|_| UrlError("it is not UTF-8"))?.into_owned())
}

/// `redis at HOST:PORT`; of a cluster and of sentinels all that the URL names.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.servers {
            Servers::One(info) => write!(f, "redis at {}", place(info.addr()))?,
            Servers::Primary(sentinels) => write!(f, "redis {sentinels}")?,
            Servers::Cluster { seeds, .. } => {
                let places: Vec<String> = seeds.iter().map(Node::to_string).collect();
                write!(f, "redis cluster at {}", places.join(", "))?;
            }
        }
        f.write_str(if self.tls { " (TLS)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_shown_without_its_secrets() {
        for (url, shown) in [
            ("redis://ann:s3cret@cache:6380/2", "redis at cache:6380"),
            ("redis://cache", "redis at cache:6379"),
            ("redis://[::1]:7000", "redis at [::1]:7000"),
            (
                "redis+unix:///run/r.sock?pass=s3cret",
                "redis at /run/r.sock",
            ),
            ("rediss://:s3cret@cache/1", "redis at cache:6379 (TLS)"),
            (
                "redis+cluster://ann:s3cret@a:1,b,[::1]:3",
                "redis cluster at a:1, b:6379, [::1]:3",
            ),
            (
                "REDISS+cluster://:s3cret@a:1, b:2/0?protocol=2",
                "redis cluster at a:1, b:2 (TLS)",
            ),
            (
                "redis+sentinel://ann:s3cret@a:1,b,[::1]/main/2?sentinel_password=s3cr@t",
                "redis primary main by the sentinels at a:1, b:26379, [::1]:26379",
            ),
            (
                "rediss+sentinel://[::1]:3/my%20main",
                "redis primary my main by the sentinels at [::1]:3 (TLS)",
            ),
        ] {
            let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.to_string(), shown, "{url}");
        }
    }

    #[test]
    fn a_cluster_has_one_login_for_all_seeds() {
        let address = Address::parse("redis+cluster://ann:s%40cret@a:1,b:2/?protocol=3");
        let Servers::Cluster { first, seeds } = address.expect("a proper URL").servers else {
            panic!("no cluster");
        };
        assert_eq!(seeds.len(), 2);
        let login = first.redis_settings();
        assert_eq!(login.username(), Some("ann"));
        assert_eq!(login.password(), Some("s@cret"));
        assert_eq!(login.protocol(), redis::ProtocolVersion::RESP3);
    }

    #[test]
    fn the_primary_and_its_sentinels_have_logins_of_their_own() {
        let url = "redis+sentinel://ann:s%40cret@a:1,b:2/main/3?protocol=3&sentinel_username=guard\
                   &sentinel_password=s%26cret";
        let Servers::Primary(read) = Address::parse(url).expect("a proper URL").servers else {
            panic!("no sentinels");
        };
        assert_eq!((&*read.name, read.sentinels.len()), ("main", 2));
        let login = read.login.redis_settings();
        assert_eq!(login.username(), Some("ann"));
        assert_eq!(login.password(), Some("s@cret"));
        assert_eq!(login.db(), 3);
        assert_eq!(login.protocol(), redis::ProtocolVersion::RESP3);
        for sentinel in &read.sentinels {
            let login = sentinel.redis_settings();
            assert_eq!(login.username(), Some("guard"));
            assert_eq!(login.password(), Some("s&cret"));
            assert_eq!(login.db(), 0);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_being_repeated() {
        for url in [
            "",
            "cache:6379",
            "http://u:s3cret@h/",
            "redis://u:s3cret@h:99999/",
            "redis://u:s3cret@h/x",
            "rediss://u:s3cret@h/#insecure",
            "redis+cluster://",
            "redis+cluster://u:s3cret@",
            "redis+cluster://u:s3cret@a:1,",
            "redis+cluster://u:s3cret@a:1,,b:2",
            "redis+cluster://u:s3cret@a:1/1",
            "redis+cluster://u:s3cret@a:1,u:s3cret@b:2",
            "rediss+cluster://u:s3cret@a:1,b:2#insecure",
            "redis+unix+cluster:///run/s3cret",
            "http+cluster://u:s3cret@h",
            "redis+sentinel://u:s3cret@a:1,b:2",
            "redis+sentinel://u:s3cret@a:1/",
            "redis+sentinel://u:s3cret@a:1//0",
            "redis+sentinel://u:s3cret@a:1,/main",
            "redis+sentinel://u:s3cret@/main",
            "redis+sentinel://u:s3cret@a:99999/main",
            "redis+sentinel://u:s3cret@a:1/main/x",
            "redis+sentinel://u:s3cret@a:1,u:s3cret@b:2/main",
            "redis+sentinel://a:1/main?password=s3cret",
            "redis+sentinel://a:1/main?s3cret",
            "redis+sentinel://a:1/main?sentinel_username=s3cret",
            "redis+sentinel://u:s3cret@a:1/main#s3cret",
            "redis+sentinel://u:s3cret@a:1/main%ff",
            "redis+unix+sentinel:///run/s3cret/main",
            "http+sentinel://u:s3cret@h/main",
        ] {
            let error = Address::parse(url).err().expect(url).to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(error.contains("Redis URL"), "{error}");
        }
    }
}
