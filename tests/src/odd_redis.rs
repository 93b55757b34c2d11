//! A server that speaks the protocol of Redis and answers what a test says: for what a real one
//! says rarely, late, or in other versions. Not for what a real one can be brought to say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The reply to a command, as it goes over the wire (`+OK\r\n`); `None`: it hangs up. The number is
/// that of the connection, from 0.
pub trait Answers: Fn(usize, &[String]) -> Option<String> + Send + Sync + 'static {}

impl<F: Fn(usize, &[String]) -> Option<String> + Send + Sync + 'static> Answers for F {}

/// Listens on a port of 127.0.0.1; ends with the runtime of the test.
pub struct OddRedis {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl OddRedis {
    pub async fn start(answers: impl Answers) -> OddRedis {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (answers, counted) = (Arc::new(answers), connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(client, number, answers.clone()));
            }
        });
        OddRedis { port, connections }
    }

    /// Which says this and hangs up before anybody asks.
    pub async fn start_rude(line: &'static str) -> OddRedis {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                // A client that is gone already is none of ours.
                let _ = client.write_all(format!("{line}\r\n").as_bytes()).await;
            }
        });
        OddRedis { port, connections }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// So many were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(client: TcpStream, number: usize, answers: Arc<impl Answers>) {
    let mut client = BufReader::new(client);
    while let Some(command) = command(&mut client).await {
        let Some(reply) = answers(number, &command) else {
            return;
        };
        if client.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`
async fn command(client: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = length(client, '*').await?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = length(client, '$').await?;
        let mut word = vec![0; length + 2];
        client.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Some(words)
}

async fn length(client: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    client.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}
