//! Variables that Kubernetes sets in every pod for each service beside it ("service links"): of a
//! service whose name begins with `ordain` they begin as our options do. Not for options.

use std::net::IpAddr;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// It has name and value of a service link: a slip in the name of an option has not.
pub fn is_service_link(name: &str, value: &str) -> bool {
    // The name of a service may itself have these words in it.
    let parts = |sign: &'static str| {
        let at = (0..name.len()).filter_map(move |at| Some((at, name.get(at..)?)));
        at.filter_map(move |(at, rest)| Some((&name[..at], rest.strip_prefix(sign)?)))
            .filter(|(service, _)| is_service(service))
    };
    parts("_SERVICE_HOST").any(|(_, rest)| rest.is_empty() && is_address(value))
        // The name of the port follows, if it has one.
        || parts("_SERVICE_PORT")
            .any(|(_, rest)| (rest.is_empty() || rest.starts_with('_')) && is_port(value))
        || parts("_PORT").any(|(_, rest)| rest.is_empty() && is_url(value))
        || parts("_PORT_").any(|(_, rest)| is_port_link(rest, value))
}

/// `5432_TCP`, `5432_TCP_ADDR` and so on.
fn is_port_link(port: &str, value: &str) -> bool {
    let mut words = port.split('_');
    let number = words.next().is_some_and(is_port);
    let protocol = words.next().unwrap_or_default().to_ascii_lowercase();
    if !number || !PROTOCOLS.contains(&&*protocol) {
        return false;
    }
    match (words.next(), words.next()) {
        (None, _) => is_url(value),
        (Some("PROTO"), None) => value == protocol,
        (Some("PORT"), None) => is_port(value),
        (Some("ADDR"), None) => is_address(value),
        _ => false,
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// The name of a service as variables have it.
fn is_service(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    !name.is_empty() && !name.ends_with('_') && name.chars().all(is_allowed)
}

/// `tcp://10.0.0.9:7171`
fn is_url(value: &str) -> bool {
    let Some((protocol, place)) = value.split_once("://") else {
        return false;
    };
    let place = place.rsplit_once(':');
    PROTOCOLS.contains(&protocol)
        && place.is_some_and(|(host, port)| {
            let host = host.trim_matches(['[', ']']);
            is_address(host) && is_port(port)
        })
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command};

    use super::super::{Config, strangers};
    use super::*;

    /// All that Kubernetes and its nodes set for one service with one port.
    fn links(service: &str, protocol: &str, address: &str) -> Vec<(String, String)> {
        let service = service.to_ascii_uppercase().replace('-', "_");
        let shown = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        let url = format!("{protocol}://{shown}:5432");
        let port = format!("{service}_PORT_5432_{}", protocol.to_ascii_uppercase());
        [
            (format!("{service}_SERVICE_HOST"), address),
            (format!("{service}_SERVICE_PORT"), "5432"),
            (format!("{service}_SERVICE_PORT_PG_MAIN"), "5432"),
            (format!("{service}_PORT"), &*url),
            (port.clone(), &*url),
            (format!("{port}_PROTO"), protocol),
            (format!("{port}_PORT"), "5432"),
            (format!("{port}_ADDR"), address),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
    }

    fn refused(variables: Vec<(String, String)>) -> Vec<String> {
        let command = Config::augment_args(Command::new("ordain"));
        let variables = variables.into_iter().map(|(n, v)| (n.into(), v.into()));
        strangers(&command, variables)
    }

    #[test]
    fn links_of_every_service_whose_name_begins_like_ours_pass() {
        for service in [
            "ordain",
            "ordain-postgresql",
            "ordain-canary",
            "ordain-listen",
            "ordain-far-key",
            "ordain-port",
            "ordain-service",
            "ordain-service-port",
            "ordain-2",
        ] {
            for protocol in PROTOCOLS {
                for address in ["10.0.0.9", "fd00::9"] {
                    let links = links(service, protocol, address);
                    assert_eq!(refused(links), [""; 0], "{service} {protocol} {address}");
                }
            }
        }
    }

    #[test]
    fn slips_in_the_names_of_options_are_still_told_with_what_was_meant() {
        for (name, value, meant) in [
            ("ORDAIN_LISTN", "127.0.0.1:7171", "ORDAIN_LISTEN"),
            ("ORDAIN_BOUN", "2s", "ORDAIN_BOUND"),
            ("ORDAIN_FAR_KY", "tcp://10.0.0.9:7171", "ORDAIN_FAR_KEY"),
        ] {
            let told = refused(vec![(name.to_owned(), value.to_owned())]);
            let meant = format!("{name} is set, but nothing reads it; did you mean {meant}?");
            assert_eq!(told, [meant]);
        }
        for (name, value) in [
            ("ORDAIN_PORT", "8080"),
            ("ORDAIN_LISTEN_PORT", "7171"),
            ("ORDAIN_SERVICE_HOST", "a name"),
            ("ORDAIN_X_SERVICE_PORT", "many"),
            ("ORDAIN_X_SERVICE_PORTS", "1"),
            ("ORDAIN_X_PORT_5432_TCP_NAME", "x"),
            ("ORDAIN_X_PORT_5432_TCP_PROTO", "udp"),
            ("ORDAIN_X_PORT_y_TCP", "tcp://10.0.0.9:1"),
            ("ORDAIN_X_PORT", "http://10.0.0.9:80"),
        ] {
            let told = refused(vec![(name.to_owned(), value.to_owned())]);
            assert_eq!(told.len(), 1, "{name}");
        }
    }

    #[test]
    fn no_option_has_a_name_that_a_service_link_could_have() {
        let command = Config::augment_args(Command::new("ordain"));
        for option in command.get_arguments() {
            let name = option.get_env().and_then(|name| name.to_str());
            let name = name.unwrap_or_default();
            for value in ["10.0.0.9", "5432", "tcp://10.0.0.9:5432", "tcp"] {
                assert!(!is_service_link(name, value), "{name}={value}");
            }
        }
    }
}
