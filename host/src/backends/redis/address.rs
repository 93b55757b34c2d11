//! What a Redis URL says: which servers, whether by TLS, and how to log in. Not for connecting, and
//! what is shown of it has neither user nor password.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::topology::Node;

/// A URL that cannot be used; the text repeats no part of it, since it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Redis URL cannot be read: {0}")]
pub struct UrlError(&'static str);

const FORMS: &str = "redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss://... (by TLS), \
     redis+unix:///PATH, redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT or rediss+cluster://... \
     is expected";

pub struct Address {
    pub servers: Servers,
    pub tls: bool,
}

pub enum Servers {
    One(ConnectionInfo),
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
        let (kind, cluster) = match scheme.strip_suffix("+cluster") {
            Some(kind) => (kind, true),
            None => (&*scheme, false),
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
        let servers = if cluster {
            seeds(plain, rest)?
        } else {
            Servers::One(server(&format!("{plain}://{rest}"))?)
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

/// `redis at HOST:PORT`; of a cluster all that the URL names.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.servers {
            Servers::One(info) => write!(f, "redis at {}", place(info.addr()))?,
            Servers::Cluster { seeds, .. } => {
                let places: Vec<String> = seeds.iter().map(Node::to_string).collect();
                write!(f, "redis cluster at {}", places.join(", "))?;
            }
        }
        f.write_str(if self.tls { " (TLS)" } else { "" })
    }
}

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
        ] {
            let error = Address::parse(url).err().expect(url).to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(error.contains("Redis URL"), "{error}");
        }
    }
}
