//! A connection on which anything can be said: half a request, one byte at a time, nothing. Not for
//! ordinary calls (`http`).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::PATIENCE;

pub struct Raw {
    stream: TcpStream,
    address: String,
}

impl Raw {
    /// To `http://ADDRESS`.
    pub async fn connect(base: &str) -> Raw {
        Raw::try_connect(base).await.expect("a connection")
    }

    pub async fn try_connect(base: &str) -> std::io::Result<Raw> {
        let address = base.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&address).await?;
        Ok(Raw { stream, address })
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// False: the connection has ended.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// A request line and its host, and further lines; no empty line at the end.
    pub async fn begin(&mut self, line: &str, more: &str) -> bool {
        let text = format!("{line} HTTP/1.1\r\nHost: {}\r\n{more}", self.address);
        self.send(text).await
    }

    /// A whole GET and its answer, as text.
    pub async fn get(&mut self, path: &str) -> String {
        self.begin(&format!("GET {path}"), "\r\n").await;
        self.answer().await
    }

    /// The next answer; what there is of it, if the connection ends.
    pub async fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = async {
            while !is_whole(&bytes) {
                match self.stream.read_buf(&mut bytes).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
        };
        let read = tokio::time::timeout(2 * PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("no answer: {}", String::from_utf8_lossy(&bytes)));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the server ends the connection within that time; what it says meanwhile is dropped.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        let mut buffer = vec![0; 16 << 10];
        let read = async { while let Ok(1..) = self.stream.read(&mut buffer).await {} };
        tokio::time::timeout(time, read).await.is_ok()
    }
}

/// A head and as much as its Content-Length says.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
