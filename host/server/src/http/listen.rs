//! Where connections come from: a TCP port or a Unix socket. A socket's file is this process's own:
//! one that was left behind is replaced, one that somebody answers on is not, and it goes with the
//! service. Not for what is said on a connection.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream as Stream};

use crate::config::Listen;

/// Owner and group may connect.
const MODE: u32 = 0o660;
const BACKLOG: u32 = 1024;
/// For somebody else who is at work in the same folder, or a peer whose queue is full.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing can be listened on, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{0} cannot be listened on: {1}; {advice}", advice = advice(.1))]
    Tcp(std::net::SocketAddr, io::Error),
    #[error("unix:{0} cannot be listened on: {1}")]
    Unix(PathBuf, String),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one that it has with --listen (ORDAIN_LISTEN), \
             or 0.0.0.0 for all of them"
        }
        ErrorKind::PermissionDenied => {
            "choose a port from 1024 on with --listen (ORDAIN_LISTEN), or give the program CAP_NET_BIND_SERVICE"
        }
        _ => "choose another with --listen (ORDAIN_LISTEN), or port 0",
    }
}

/// Connections are taken from now on.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection that was taken.
pub enum Accepted {
    Tcp(TcpStream),
    Unix(Stream),
}

impl Listener {
    /// The next connection. Dropped before it is done, it takes none.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small and awaited: none may wait for an acknowledgement of the one
                // before.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY was refused");
                }
                Ok(Accepted::Tcp(stream))
            }
            Listener::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }

    pub async fn bind(listen: &Listen) -> Result<Listener, ListenError> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Listener::Tcp)
                .map_err(|error| ListenError::Tcp(*address, error)),
            Listen::Unix(path) => {
                let own = path.clone();
                let bound = tokio::task::spawn_blocking(move || bind(&own));
                let bound = tokio::time::timeout(PATIENCE, bound).await;
                let bound = bound.unwrap_or_else(|_| {
                    let late = format!("it was not free within {} s", PATIENCE.as_secs());
                    Ok(Err(late))
                });
                let bound = bound.unwrap_or_else(|error| Err(error.to_string()));
                let (listener, file) = bound.map_err(|why| ListenError::Unix(path.clone(), why))?;
                Ok(Listener::Unix(listener, file))
            }
        }
    }

    /// `http://ADDRESS` or `unix:PATH`: what a client is told.
    pub fn address(&self) -> io::Result<String> {
        Ok(match self {
            Listener::Tcp(listener) => format!("http://{}", listener.local_addr()?),
            Listener::Unix(_, file) => Listen::Unix(file.path.clone()).to_string(),
        })
    }
}

/// The file of a socket; removed with this, unless somebody has replaced it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode and the moment at which it was made: a number alone may soon name another file.
/// That moment is the one of its last modification, as nothing is ever written to a socket's file.
/// Its last change (`ctime`) would be another after a `chgrp` or `chmod`, which is how operators
/// let callers in.
type Identity = (u64, u64, i64, i64);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket could not be removed");
        }
    }
}

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// Waits for the disk, and for whoever answers on the socket.
fn bind(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    // Held by everybody who binds in this folder: between bind and listen, a socket looks like one
    // that was left behind. Without it (some file systems have no locks) only two starts at the
    // same moment could go wrong.
    let lock = File::open(folder);
    if let Ok(lock) = &lock {
        let _ = lock.lock();
    }
    clear(path)?;
    let said = |error: io::Error| error.to_string();
    let socket = UnixSocket::new_stream().map_err(said)?;
    // Before there is a file, so that at no time more may connect than shall; then once more, since
    // the umask is taken off.
    let own = socket.as_fd().try_clone_to_owned().map_err(said)?;
    let mode = Permissions::from_mode(MODE);
    File::from(own)
        .set_permissions(mode.clone())
        .map_err(said)?;
    socket.bind(path).map_err(said)?;
    std::fs::set_permissions(path, mode).map_err(said)?;
    let metadata = std::fs::symlink_metadata(path).map_err(said)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&metadata),
    };
    let listener = socket.listen(BACKLOG).map_err(said)?;
    Ok((listener, file))
}

/// Makes room for a socket: a file of a socket that nobody answers on is removed.
fn clear(path: &Path) -> Result<(), String> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(
                "there is a file of that name, and it is no socket: remove it, or choose another \
                 path with --listen"
                    .to_owned(),
            );
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(
            "somebody answers there already: stop that service, or choose another path with --listen"
                .to_owned(),
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "a socket that nobody answers on is replaced");
            std::fs::remove_file(path).map_err(|error| format!("it cannot be replaced: {error}"))
        }
        Err(error) => Err(format!("whether somebody answers there is not clear: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn at(path: &Path) -> Result<Listener, String> {
        let listen = Listen::Unix(path.to_owned());
        Listener::bind(&listen)
            .await
            .map_err(|error| error.to_string())
    }

    fn folder() -> PathBuf {
        let name = format!("ordain-listen-{}", uuid::Uuid::now_v7().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).expect("a temporary folder");
        folder
    }

    #[tokio::test]
    async fn a_socket_is_for_owner_and_group_and_goes_with_its_listener() {
        let folder = folder();
        let path = folder.join("s");
        let listener = at(&path).await.expect("a socket");
        let mode = std::fs::metadata(&path).expect("a file").mode();
        assert_eq!(mode & 0o777, MODE);
        let address = listener.address().expect("an address");
        assert_eq!(address, format!("unix:{}", path.display()));
        drop(listener);
        assert!(!path.exists());
        let _ = std::fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn a_socket_whose_mode_was_changed_meanwhile_goes_with_its_listener_too() {
        let folder = folder();
        let path = folder.join("s");
        let listener = at(&path).await.expect("a socket");
        let made = std::fs::metadata(&path).expect("a file").ctime_nsec();
        // The clock of files ticks every few milliseconds.
        while std::fs::metadata(&path).expect("a file").ctime_nsec() == made {
            let mode = Permissions::from_mode(0o666);
            std::fs::set_permissions(&path, mode).expect("the file is ours");
        }
        drop(listener);
        assert!(!path.exists());
        let _ = std::fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn a_socket_that_is_in_use_and_a_file_that_is_none_are_left_alone() {
        let folder = folder();
        let (used, plain) = (folder.join("used"), folder.join("plain"));
        let first = at(&used).await.expect("a socket");
        let error = at(&used).await.err().expect("it is in use");
        assert!(error.contains("answers there already"), "{error}");
        assert!(used.exists());
        drop(first);
        std::fs::write(&plain, "data").expect("a file");
        let error = at(&plain).await.err().expect("it is no socket");
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read(&plain).expect("a file"), b"data");
        let error = at(&folder.join("missing/s")).await.err().expect("refused");
        assert!(error.contains("no folder"), "{error}");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_replaced_and_its_first_owner_leaves_the_new_one_alone()
     {
        let folder = folder();
        let path = folder.join("s");
        let left = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let metadata = std::fs::symlink_metadata(&path).expect("a file");
        let earlier = SocketFile {
            path: path.clone(),
            identity: identity(&metadata),
        };
        drop(left);
        let listener = at(&path).await.expect("nobody answers");
        drop(earlier);
        assert!(path.exists());
        drop(listener);
        let _ = std::fs::remove_dir_all(folder);
    }
}
