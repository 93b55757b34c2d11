//! An identity provider: the document of OpenID Connect discovery and a set of keys, over HTTP or
//! HTTPS. It can be slow, broken, huge and elsewhere, and counts what it is asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::Authority;

/// How it answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// As it should.
    Right,
    Status(u16),
    /// To this URL.
    Redirect(String),
    Text(String),
    /// Without an end.
    Huge,
    /// Takes the request and says nothing.
    Silent,
    /// Promises more than it sends.
    Half,
}

struct Script {
    answer: Answer,
    keys: String,
    document: Value,
    /// Where that is.
    discovery: String,
    asked: BTreeMap<String, usize>,
}

pub struct Provider {
    base: String,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Provider {
    /// Its issuer is its address with this path.
    pub async fn start(path: &str) -> Provider {
        Provider::listen(None, path).await
    }

    /// With a certificate of the authority for 127.0.0.1.
    pub async fn tls(authority: &Authority, path: &str) -> Provider {
        let folder = tempfile::tempdir().expect("a folder");
        authority.certify(&["127.0.0.1"], folder.path());
        Provider::listen(Some(acceptor(folder.path())), path).await
    }

    async fn listen(tls: Option<TlsAcceptor>, path: &str) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{address}");
        let script = Script {
            answer: Answer::Right,
            keys: json!({"keys": []}).to_string(),
            document: json!({
                "issuer": format!("{base}{path}"),
                "jwks_uri": format!("{base}/keys"),
                "token_endpoint": format!("{base}/token"),
                "id_token_signing_alg_values_supported": ["RS256"],
            }),
            discovery: format!(
                "{}/.well-known/openid-configuration",
                path.trim_end_matches('/')
            ),
            asked: BTreeMap::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let server = tokio::spawn(serve(listener, tls, script.clone()));
        Provider {
            base,
            script,
            server,
        }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no holder of the lock panics")
    }

    pub fn issuer(&self) -> String {
        let script = self.script();
        script.document["issuer"]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    pub fn url(&self) -> String {
        format!("{}/keys", self.base)
    }

    pub fn keys(&self, keys: &[Value]) {
        self.script().keys = json!({ "keys": keys }).to_string();
    }

    /// What the document says instead.
    pub fn says(&self, member: &str, value: Value) {
        self.script().document[member] = value;
    }

    pub fn answer(&self, answer: Answer) {
        self.script().answer = answer;
    }

    /// Requests for the keys so far.
    pub fn asked(&self) -> usize {
        self.script().asked.get("/keys").copied().unwrap_or(0)
    }

    /// Requests of any kind so far.
    pub fn asked_at_all(&self) -> usize {
        self.script().asked.values().sum()
    }
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let read = |name| std::fs::read(folder.join(name)).expect("it was written");
    let chain = CertificateDer::pem_slice_iter(&read("server.pem"))
        .collect::<Result<Vec<_>, _>>()
        .expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, script: Arc<Mutex<Script>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, script) = (tls.clone(), script.clone());
        tokio::spawn(async move {
            match tls {
                None => answer(stream, &script).await,
                Some(tls) => {
                    // A client that does not believe it goes.
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, &script).await;
                    }
                }
            }
        });
    }
}

/// One request, one answer. A client that goes early is none of our concern.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Mutex<Script>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (answer, text) = {
        let mut script = script.lock().expect("no holder of the lock panics");
        *script.asked.entry(path.clone()).or_default() += 1;
        match path.as_str() {
            "/keys" => (script.answer.clone(), script.keys.clone()),
            found if found == script.discovery => {
                (script.answer.clone(), script.document.to_string())
            }
            _ => (Answer::Status(404), String::new()),
        }
    };
    let full = |status: &str, text: &str| {
        let length = text.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{text}"
        )
    };
    let bytes = match answer {
        Answer::Right => full("200 OK", &text),
        Answer::Status(status) => full(&format!("{status} x"), "{}"),
        Answer::Text(text) => full("200 OK", &text),
        Answer::Redirect(to) => format!(
            "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ),
        Answer::Half => full("200 OK", &text).replace("content-length: ", "content-length: 9"),
        Answer::Silent => return std::future::pending().await,
        Answer::Huge => {
            let start = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[";
            let mut sent = stream.write_all(start.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&[b' '; 4096]).await;
            }
            return;
        }
    };
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.shutdown().await;
}
