//! One connection that is kept alive and asks `POST /v1/resolve`, one request after the other. As
//! little as will do, so that the machine's time goes to the server: replies are not decoded.

use std::sync::LazyLock;

use anyhow::{Context as _, bail, ensure};
use ordain_tests::tokens;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::load::{Ask, Outcome};

/// What every request brings, as callers in production do: a gateway's token.
pub static AUTHORIZATION: LazyLock<String> =
    LazyLock::new(|| format!("Bearer {}", tokens::resolver(None)));

/// More than any reply has.
const LARGEST: usize = 64 * 1024;

pub struct Connection {
    address: Address,
    stream: Option<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

enum Address {
    Tcp(String),
    Unix(String),
}

impl Address {
    async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        match self {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    /// `base`: `http://ADDRESS` or `unix:PATH`.
    pub fn new(base: &str) -> anyhow::Result<Connection> {
        let address = match base.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.to_owned()),
            None => {
                let address = base.strip_prefix("http://").context("an http URL")?;
                Address::Tcp(address.trim_end_matches('/').to_owned())
            }
        };
        Ok(Connection {
            address,
            stream: None,
            buffer: Vec::new(),
        })
    }

    /// Status and body of the reply to a request that says no more than its tenant.
    pub async fn resolve(&mut self, tenant: &str) -> anyhow::Result<(u16, &[u8])> {
        self.post(&format!(r#"{{"tenant":"{tenant}"}}"#)).await
    }

    /// Status and body of the reply to this body.
    pub async fn post(&mut self, body: &str) -> anyhow::Result<(u16, &[u8])> {
        let request = format!(
            "POST /v1/resolve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             authorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            *AUTHORIZATION,
            body.len()
        );
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.address.connect().await?,
        };
        stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more(&mut stream).await?;
        };
        let reply = Head::parse(&self.buffer[..head])?;
        while self.buffer.len() < head + reply.length {
            self.more(&mut stream).await?;
        }
        if !reply.closes {
            self.stream = Some(stream);
        }
        Ok((reply.status, &self.buffer[head..head + reply.length]))
    }

    async fn more(&mut self, stream: &mut Box<dyn Stream>) -> anyhow::Result<()> {
        ensure!(self.buffer.len() < LARGEST, "a reply without an end");
        if stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

impl Ask for Connection {
    async fn ask(&mut self, tenant: &str) -> Outcome {
        match self.resolve(tenant).await {
            Ok((200, body)) if find(body, br#""stale":true"#).is_some() => Outcome::Stale,
            Ok((200, _)) => Outcome::Fresh,
            _ => Outcome::Failed,
        }
    }
}

struct Head {
    status: u16,
    length: usize,
    closes: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> anyhow::Result<Head> {
        let text = std::str::from_utf8(bytes)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut head = Head {
            status: status.context("a status")?.parse()?,
            length: 0,
            closes: false,
        };
        let mut length = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse()?);
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            }
        }
        head.length = length.context("a reply without content-length")?;
        Ok(head)
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
