//! Where the service listens: an address or a Unix socket, as text and checked. Not for listening
//! itself (`http/listen.rs`), nor for who may be reachable (`checked`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::ConfigError;
use ordain_store::secret::misplaced;

/// What an address of a Unix socket begins with, here and where a server is named.
pub const UNIX: &str = "unix:";
/// Longest path of a socket, in bytes: the kernel has 108, one of them for the end.
const PATH_MAX: usize = 107;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Listen {
    pub(super) fn parse(text: &str) -> Result<Listen, ConfigError> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix(UNIX) {
            return socket_path(path)
                .map(Listen::Unix)
                .map_err(ConfigError::Socket);
        }
        let address = match text.strip_prefix("localhost:").map(str::parse) {
            Some(Ok(port)) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
            _ => text
                .parse()
                .map_err(|_| ConfigError::Listen(misplaced(text)))?,
        };
        Ok(Listen::Tcp(address))
    }
}

/// The path of `unix:PATH` (also written `unix:///path`), or why there can be no socket.
pub fn socket_path(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err(format!(
            "{UNIX}{path} is no socket to use: the path must begin with /, as in unix:/run/ordain.sock"
        ));
    }
    // Of `//` and more at the start, as in a URL, one is meant.
    let path = format!("/{}", path.trim_start_matches('/'));
    if path.ends_with('/') || path.contains('\0') {
        return Err(format!("{UNIX}{path} names no file"));
    }
    if path.len() > PATH_MAX {
        return Err(format!(
            "{UNIX}{path} is too long: the path of a socket has at most {PATH_MAX} bytes, this one has {}",
            path.len()
        ));
    }
    Ok(path.into())
}
