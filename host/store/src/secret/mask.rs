//! What may be shown of a URL. Only what has the form of a host, a port, a path or a value that is
//! known to be harmless is shown; a password that was not encoded as it should be may reach into
//! any of them. Not for what a URL means (`postgres`, `redis`).

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// Parameters whose values are shown; the others are masked, with their names if nobody knows
/// those.
const HARMLESS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "db",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "port",
    "protocol",
    "replication",
    "require_auth",
    "service",
    "ssl-ca",
    "ssl-mode",
    "ssl-root-cert",
    "sslcrl",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "statement-cache-capacity",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// Parameters whose names are shown.
const KNOWN: &[&str] = &[
    "options",
    "pass",
    "passfile",
    "password",
    "requirepass",
    "sentinel_password",
    "sentinel_username",
    "sentinelPassword",
    "sentinelUser",
    "sentinelUsername",
    "ssl-cert",
    "ssl-key",
    "sslcert",
    "sslkey",
    "sslpassword",
    "token",
    "username",
];
/// Schemes whose user may stand alone; elsewhere what stands there alone may be a password.
const WITH_USERS: [&str; 2] = ["postgres", "postgresql"];

/// A URL as it may be shown. What does not look like one is masked as a whole, for it may be
/// anything.
pub fn masked_url(url: &str) -> String {
    let parts = url
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme));
    let Some((scheme, rest)) = parts else {
        return MASK.to_owned();
    };
    // As the drivers read it: the first of these ends the hosts, whatever comes later.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (tail, fragment) = split(tail, '#');
    let (path, query) = split(tail, '?');
    let pairs: Vec<&str> = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .collect();
    let is_sure = |pair: &&str| !pair.contains('@') || known(pair).is_some();
    let at_its_place = !path.contains('@')
        && fragment.is_none_or(|fragment| !fragment.contains('@'))
        && pairs.iter().all(is_sure);
    if !at_its_place && !authority.is_empty() {
        // All before an `@` may be a password with a `/`, `?` or `#` in it, and all behind it, too.
        return format!("{scheme}://{MASK}");
    }
    let mut shown = format!("{scheme}://{}", masked_authority(scheme, authority));
    shown.push_str(&masked_path(path));
    for (index, pair) in pairs.into_iter().enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        shown.push_str(&masked_pair(pair));
    }
    if fragment.is_some() {
        shown.push('#');
        shown.push_str(MASK);
    }
    shown
}

fn split(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_scheme(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    (1..=24).contains(&text.len()) && text.chars().all(is_part)
}

/// User and hosts: the last `@` parts them, and the first `:` of the user ends its name.
fn masked_authority(scheme: &str, authority: &str) -> String {
    let Some((login, hosts)) = authority.rsplit_once('@') else {
        return masked_hosts(authority);
    };
    let hosts = masked_hosts(hosts);
    let user = |name: &str| match is_plain(name, "-._@+") {
        true => name.to_owned(),
        false => MASK.to_owned(),
    };
    match login.split_once(':') {
        Some((name, "")) if !WITH_USERS.contains(&scheme) => {
            let name = if name.is_empty() { "" } else { MASK };
            format!("{name}:@{hosts}")
        }
        Some((name, _)) => format!("{}:{MASK}@{hosts}", user(name)),
        None if WITH_USERS.contains(&scheme) => format!("{}@{hosts}", user(login)),
        None => format!("{MASK}@{hosts}"),
    }
}

/// Each host that looks like one, with its port.
fn masked_hosts(hosts: &str) -> String {
    let masked = hosts.split(',').map(|host| match is_host(host) {
        true => host,
        false => MASK,
    });
    masked.collect::<Vec<_>>().join(",")
}

fn is_host(text: &str) -> bool {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => split(text, ':'),
    };
    is_plain(host, "-._") && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit())
}

fn masked_path(path: &str) -> String {
    match is_plain(path, "-._/+ ") {
        true => path.to_owned(),
        false => format!("/{MASK}"),
    }
}

/// Name and value, if the name is one that somebody could have meant.
fn known(pair: &str) -> Option<(&str, &str)> {
    let (name, value) = pair.split_once('=')?;
    let is_known = KNOWN.contains(&name) || HARMLESS.contains(&name);
    is_known.then_some((name, value))
}

fn masked_pair(pair: &str) -> String {
    match known(pair) {
        Some((name, value)) if HARMLESS.contains(&name) => {
            let signs = match name {
                "host" | "hostaddr" | "port" => "-._/,:[]",
                _ => "-._/,@+",
            };
            match is_plain(value, signs) {
                true => pair.to_owned(),
                false => format!("{name}={MASK}"),
            }
        }
        Some((name, _)) => format!("{name}={MASK}"),
        // It may be the end of a password with an `&` in it.
        None => MASK.to_owned(),
    }
}

/// Letters, digits, these signs, and the two signs that are commonly encoded: `@` and `/`.
fn is_plain(text: &str, signs: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    let decoded = text
        .replace("%40", "")
        .replace("%2F", "")
        .replace("%2f", "");
    decoded.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::random::{MARK, url};
    use super::*;

    #[test]
    fn passwords_of_urls_are_masked_and_the_rest_stays_readable() {
        for (url, shown) in [
            (
                "postgres://me:s3cret@db:5432/x",
                "postgres://me:***@db:5432/x",
            ),
            ("postgres://me@db/x", "postgres://me@db/x"),
            (
                "postgres://me@corp:s3cret@db/x",
                "postgres://me@corp:***@db/x",
            ),
            (
                "postgres://me%40corp:s3@cret@db/x",
                "postgres://me%40corp:***@db/x",
            ),
            ("postgres://me%3As3cret@db/x", "postgres://***@db/x"),
            (
                "postgres://me:s3cret@a:1,[::1]:2,c/x",
                "postgres://me:***@a:1,[::1]:2,c/x",
            ),
            ("postgres://%2Frun%2Fpg/x", "postgres://%2Frun%2Fpg/x"),
            (
                "postgres:///x?host=/run/pg&user=me@corp&password=s3cret",
                "postgres:///x?host=/run/pg&user=me@corp&password=***",
            ),
            (
                "postgres://db/x?user=me@corp&password=s3cret",
                "postgres://db/x?user=me@corp&password=***",
            ),
            (
                "postgres://db/x?password=s3cr@et&user=me",
                "postgres://db/x?password=***&user=me",
            ),
            (
                "postgres://db/x?sslmode=require&sslpassword=s3cret&passfile=/s3cret",
                "postgres://db/x?sslmode=require&sslpassword=***&passfile=***",
            ),
            ("postgres://db/x?p%61ssword=s3cret", "postgres://db/x?***"),
            ("postgres://db/x?PASSWORD=s3cret", "postgres://db/x?***"),
            (
                "postgres://db/x?password=a&s3cret",
                "postgres://db/x?password=***&***",
            ),
            (
                "postgres://db/x?password=a&s3=cret",
                "postgres://db/x?password=***&***",
            ),
            (
                "postgres://db/x?password=a#s3cret",
                "postgres://db/x?password=***#***",
            ),
            (
                "postgres://db/x?user=me:s3cret@corp",
                "postgres://db/x?user=***",
            ),
            (
                "postgres://db/x?options=-c%20x=s3cret",
                "postgres://db/x?options=***",
            ),
            (
                "redis+unix:///r.sock?user=a@b&pass=s3cret",
                "redis+unix:///r.sock?user=a@b&pass=***",
            ),
            (
                "redis+unix:///run/r.sock?db=1",
                "redis+unix:///run/r.sock?db=1",
            ),
            ("redis://:s3cret@cache/0", "redis://:***@cache/0"),
            ("redis://s3cret@cache/0", "redis://***@cache/0"),
            ("redis://s3cret:@cache/0", "redis://***:@cache/0"),
            ("postgres://me:@db/x", "postgres://me:***@db/x"),
            ("redis://:s3cret", "redis://***"),
            ("redis://cache:6379", "redis://cache:6379"),
            (
                "rediss://me:s3cret@cache:6380/1#insecure",
                "rediss://me:***@cache:6380/1#***",
            ),
            (
                "redis+cluster://me:s3cret@a:1,b:2,[::1]:3/0?protocol=3",
                "redis+cluster://me:***@a:1,b:2,[::1]:3/0?protocol=3",
            ),
            (
                "redis+cluster://me:s3cret@a:1,me:s3cret@b:2",
                "redis+cluster://me:***@b:2",
            ),
            (
                "redis+sentinel://me:s3cret@a:1,b:2/main/0?sentinel_username=me&sentinel_password=s3cr@t",
                "redis+sentinel://me:***@a:1,b:2/main/0?sentinel_username=***&sentinel_password=***",
            ),
            (
                "redis+sentinel://me:s3cret@a:1,b:2/main/0?sentinelPassword=s3cret",
                "redis+sentinel://me:***@a:1,b:2/main/0?sentinelPassword=***",
            ),
            // A password with signs that had to be encoded: nobody knows where it ends.
            ("postgres://me:a@b/c?s3cret@db/x", "postgres://***"),
            ("postgres://me:12/s3cret@db/x", "postgres://***"),
            ("postgres://me:12#s3cret@db/x", "postgres://***"),
            ("postgres://me:12?s3cret=x@db/x", "postgres://***"),
            ("postgres://me:s3cret/db", "postgres://***/db"),
            ("redis:///me:s3cret@cache", "redis:///***"),
            ("host=db password=s3cret", "***"),
            ("jdbc:postgresql://db/x?password=s3cret", "***"),
            ("s3cret", "***"),
            ("", "***"),
        ] {
            assert_eq!(masked_url(url), shown, "{url}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn a_secret_is_never_shown_wherever_it_stands_and_however_it_is_written(url in url()) {
            let shown = masked_url(&url);
            prop_assert!(!shown.contains(MARK), "{url} is shown as {shown}");
        }
    }
}
