//! A forwarder in front of a server that counts what passes: how often a text was sent to the
//! server. The exact way to say "no I/O" or "one read". It changes nothing on the way. Also the
//! balancer or the name that leads new connections to another server from some time on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Where the server is.
#[derive(Debug, Clone)]
pub enum Upstream {
    Tcp(String),
    Unix(std::path::PathBuf),
}

#[derive(Default)]
struct Watch {
    needle: Vec<u8>,
    seen: AtomicUsize,
}

type Watches = Arc<Mutex<Vec<Arc<Watch>>>>;

/// Listens on a port of 127.0.0.1; ends with the runtime of the test.
pub struct Proxy {
    port: u16,
    watches: Watches,
    upstream: Arc<Mutex<Upstream>>,
}

/// How often a text was sent to the server since the watch began.
pub struct Count(Arc<Watch>);

impl Count {
    pub fn get(&self) -> usize {
        self.0.seen.load(Ordering::SeqCst)
    }
}

impl Proxy {
    pub async fn start(upstream: Upstream) -> Proxy {
        Proxy::start_on("127.0.0.1:0", upstream).await
    }

    /// Listens on an address of another kind.
    pub async fn start_on(address: &str, upstream: Upstream) -> Proxy {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let watches = Watches::default();
        let upstream = Arc::new(Mutex::new(upstream));
        let (shared, current) = (watches.clone(), upstream.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = current
                    .lock()
                    .expect("no holder of the lock panics")
                    .clone();
                tokio::spawn(forward(client, upstream, shared.clone()));
            }
        });
        Proxy {
            port,
            watches,
            upstream,
        }
    }

    /// New connections lead there; those that exist stay where they are.
    pub fn switch(&self, upstream: Upstream) {
        *self.upstream.lock().expect("no holder of the lock panics") = upstream;
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counts this text in what clients send from now on. It must stand in each message at most
    /// once, uncut by the protocol.
    pub fn watch(&self, needle: &str) -> Count {
        let watch = Arc::new(Watch {
            needle: needle.into(),
            seen: AtomicUsize::new(0),
        });
        self.watches
            .lock()
            .expect("no holder of the lock panics")
            .push(watch.clone());
        Count(watch)
    }
}

async fn forward(client: TcpStream, upstream: Upstream, watches: Watches) {
    match upstream {
        Upstream::Tcp(address) => {
            if let Ok(server) = TcpStream::connect(address).await {
                both_ways(client, server, watches).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                both_ways(client, server, watches).await;
            }
        }
    }
}

async fn both_ways(client: TcpStream, server: impl AsyncRead + AsyncWrite, watches: Watches) {
    let _ = client.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        // What may be the beginning of a needle is looked at again with what follows.
        let mut tail: Vec<u8> = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let fresh = tail.len();
            tail.extend_from_slice(&buffer[..length]);
            count(&watches, &tail, fresh);
            let keep = tail.len().min(1024);
            tail.drain(..tail.len() - keep);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    // One side is gone: so is the other.
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}

/// Counts the needles that end within the part from `fresh` on.
fn count(watches: &Watches, bytes: &[u8], fresh: usize) {
    for watch in watches.lock().expect("no holder of the lock panics").iter() {
        let length = watch.needle.len();
        let ends = bytes
            .windows(length)
            .enumerate()
            .filter(|(at, window)| at + length > fresh && *window == watch.needle);
        watch.seen.fetch_add(ends.count(), Ordering::SeqCst);
    }
}
