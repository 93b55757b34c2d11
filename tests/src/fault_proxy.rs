//! A forwarder in front of a server that can be told, while it runs, to misbehave: to delay, cut,
//! refuse, hang, hold replies back, lead elsewhere. What it lets through it does not change. Not
//! for counting what passes (`proxy`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::proxy::Upstream;

/// Chunks on the way in one direction; beyond them the sender feels the delay itself.
const QUEUE: usize = 256;

#[derive(Clone)]
struct Rules {
    upstream: Upstream,
    /// Connections of another number are cut.
    number: u64,
    refuse: bool,
    requests: Flow,
    replies: Flow,
}

/// One direction.
#[derive(Clone, Copy, Default)]
struct Flow {
    delay: Duration,
    held: bool,
}

#[derive(Clone, Copy)]
enum Way {
    Requests,
    Replies,
}

impl Rules {
    fn flow(&self, way: Way) -> Flow {
        match way {
            Way::Requests => self.requests,
            Way::Replies => self.replies,
        }
    }
}

type Trigger = Arc<Mutex<Option<Vec<u8>>>>;

/// Listens on a port of 127.0.0.1; ends with the runtime of the test.
pub struct FaultProxy {
    port: u16,
    rules: Arc<watch::Sender<Rules>>,
    trigger: Trigger,
    accepted: Arc<AtomicUsize>,
}

impl FaultProxy {
    pub async fn start(upstream: Upstream) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr();
        let port = address.expect("a bound socket has an address").port();
        let rules = Arc::new(watch::Sender::new(Rules {
            upstream,
            number: 0,
            refuse: false,
            requests: Flow::default(),
            replies: Flow::default(),
        }));
        let trigger = Trigger::default();
        let accepted = Arc::new(AtomicUsize::new(0));
        let shared = (rules.clone(), trigger.clone(), accepted.clone());
        tokio::spawn(async move {
            let (rules, trigger, accepted) = shared;
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                if !rules.borrow().refuse {
                    tokio::spawn(serve(client, rules.clone(), trigger.clone()));
                }
            }
        });
        FaultProxy {
            port,
            rules,
            trigger,
            accepted,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that came so far, refused ones too.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What comes from now on arrives so much later.
    pub fn delay(&self, requests: Duration, replies: Duration) {
        self.rules.send_modify(|rules| {
            rules.requests.delay = requests;
            rules.replies.delay = replies;
        });
    }

    /// Ends all connections; new ones are welcome.
    pub fn cut(&self) {
        self.rules.send_modify(|rules| rules.number += 1);
    }

    /// New connections are closed as soon as they are made.
    pub fn refuse(&self) {
        self.rules.send_modify(|rules| rules.refuse = true);
    }

    /// Connections stay, new ones are accepted, and nothing passes.
    pub fn hang(&self) {
        self.rules.send_modify(|rules| {
            rules.requests.held = true;
            rules.replies.held = true;
        });
    }

    /// The server hears everything; what it says waits here.
    pub fn hold_replies(&self) {
        self.rules.send_modify(|rules| rules.replies.held = true);
    }

    /// Holds replies back as soon as a client sends this text, before the server sees it. Once.
    pub fn hold_replies_after(&self, text: &str) {
        *self.trigger.lock().expect("no holder of the lock panics") = Some(text.into());
    }

    /// Ends every misbehaviour. What was held back goes on its way, however old.
    pub fn pass(&self) {
        *self.trigger.lock().expect("no holder of the lock panics") = None;
        self.rules.send_modify(|rules| {
            rules.refuse = false;
            rules.requests = Flow::default();
            rules.replies = Flow::default();
        });
    }

    /// Another server from now on; connections to the old one are cut.
    pub fn lead_to(&self, upstream: Upstream) {
        self.rules.send_modify(|rules| {
            rules.upstream = upstream;
            rules.number += 1;
        });
    }
}

async fn serve(client: TcpStream, rules: Arc<watch::Sender<Rules>>, trigger: Trigger) {
    let mut cut = rules.subscribe();
    let number = cut.borrow().number;
    tokio::select! {
        () = forward(client, &rules, &trigger) => {}
        _ = cut.wait_for(|rules| rules.number != number) => {}
    }
}

async fn forward(client: TcpStream, rules: &watch::Sender<Rules>, trigger: &Trigger) {
    let _ = client.set_nodelay(true);
    // Whoever connects to a server that hangs is accepted and hears nothing, also if it is down.
    open(rules, Way::Requests).await;
    let upstream = rules.borrow().upstream.clone();
    match upstream {
        Upstream::Tcp(address) => {
            if let Ok(server) = TcpStream::connect(address).await {
                let _ = server.set_nodelay(true);
                both_ways(client, server, rules, trigger).await;
            }
        }
        Upstream::Unix(path) => {
            if let Ok(server) = UnixStream::connect(path).await {
                both_ways(client, server, rules, trigger).await;
            }
        }
    }
}

async fn both_ways(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    rules: &watch::Sender<Rules>,
    trigger: &Trigger,
) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let mut seen = Vec::new();
    let watched = |bytes: &[u8]| {
        let mut trigger = trigger.lock().expect("no holder of the lock panics");
        let Some(text) = trigger.as_deref() else {
            return;
        };
        seen.extend_from_slice(bytes);
        if seen.windows(text.len()).any(|window| window == text) {
            *trigger = None;
            rules.send_modify(|rules| rules.replies.held = true);
        }
        // What may be the beginning of the text is looked at again with what follows.
        let keep = seen.len().min(64);
        seen.drain(..seen.len() - keep);
    };
    // One side is gone: so is the other.
    tokio::select! {
        () = pump(from_client, to_server, rules, Way::Requests, watched) => {}
        () = pump(from_server, to_client, rules, Way::Replies, |_| {}) => {}
    }
}

/// One direction: each chunk is written when its delay is over and nothing is held.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rules: &watch::Sender<Rules>,
    way: Way,
    mut watched: impl FnMut(&[u8]),
) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            watched(&buffer[..length]);
            let at = Instant::now() + rules.borrow().flow(way).delay;
            if queue.send((at, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
        // The writer ends by itself when it has written what is in the queue.
        drop(queue);
        std::future::pending::<()>().await;
    };
    let write = async {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            open(rules, way).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

/// Waits while this direction is held.
async fn open(rules: &watch::Sender<Rules>, way: Way) {
    // An error would mean that the proxy is gone, and this task with it.
    let _ = rules
        .subscribe()
        .wait_for(|rules| !rules.flow(way).held)
        .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A server that answers each line with the same line.
    async fn echo() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok()
                });
            }
        });
        Upstream::Tcp(address)
    }

    async fn say(stream: &mut TcpStream, text: &str) -> Option<String> {
        stream.write_all(text.as_bytes()).await.ok()?;
        heard(stream, text.len()).await
    }

    async fn heard(stream: &mut TcpStream, length: usize) -> Option<String> {
        let mut reply = vec![0; length];
        let read = stream.read_exact(&mut reply);
        let read = tokio::time::timeout(Duration::from_millis(300), read).await;
        read.ok()?.ok()?;
        Some(String::from_utf8(reply).unwrap())
    }

    async fn connect(proxy: &FaultProxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn it_delays_cuts_and_refuses() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut one = connect(&proxy).await;
        assert_eq!(say(&mut one, "a").await.as_deref(), Some("a"));
        proxy.delay(Duration::from_millis(40), Duration::from_millis(30));
        let start = Instant::now();
        assert_eq!(say(&mut one, "b").await.as_deref(), Some("b"));
        assert!(start.elapsed() >= Duration::from_millis(70));
        proxy.pass();
        proxy.cut();
        assert_eq!(say(&mut one, "c").await, None);
        let mut two = connect(&proxy).await;
        assert_eq!(say(&mut two, "d").await.as_deref(), Some("d"));
        proxy.refuse();
        let mut three = connect(&proxy).await;
        assert_eq!(say(&mut three, "e").await, None);
        assert_eq!(say(&mut two, "f").await.as_deref(), Some("f"));
        assert_eq!(proxy.accepted(), 3);
    }

    #[tokio::test]
    async fn what_was_held_back_arrives_late() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut one = connect(&proxy).await;
        assert_eq!(say(&mut one, "a").await.as_deref(), Some("a"));
        proxy.hang();
        assert_eq!(say(&mut one, "b").await, None);
        let mut two = connect(&proxy).await;
        assert_eq!(say(&mut two, "c").await, None);
        proxy.pass();
        assert_eq!(heard(&mut one, 1).await.as_deref(), Some("b"));
        assert_eq!(heard(&mut two, 1).await.as_deref(), Some("c"));
    }

    #[tokio::test]
    async fn a_text_can_hold_the_replies_from_itself_on() {
        let proxy = FaultProxy::start(echo().await).await;
        let mut one = connect(&proxy).await;
        proxy.hold_replies_after("COMMIT");
        assert_eq!(say(&mut one, "BEGIN").await.as_deref(), Some("BEGIN"));
        assert_eq!(say(&mut one, "COM").await.as_deref(), Some("COM"));
        assert_eq!(say(&mut one, "MIT").await, None);
        proxy.pass();
        assert_eq!(heard(&mut one, 3).await.as_deref(), Some("MIT"));
    }

    #[tokio::test]
    async fn it_leads_to_another_server() {
        let proxy = FaultProxy::start(Upstream::Unix("/nowhere".into())).await;
        let mut one = connect(&proxy).await;
        assert_eq!(say(&mut one, "a").await, None);
        proxy.lead_to(echo().await);
        let mut two = connect(&proxy).await;
        assert_eq!(say(&mut two, "b").await.as_deref(), Some("b"));
    }
}
