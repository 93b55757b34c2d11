//! Calls to a running `ordain serve` and what came back. Says nothing about what is right, save
//! the shape that every error has.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::tokens;
use crate::wait::PATIENCE;

/// One segment of a path: everything is encoded that could be.
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

/// Path of a tenant's policy.
pub fn policy_path(tenant: &str) -> String {
    format!("/v1/tenants/{}/policy", segment(tenant))
}

/// Path of a tenant's history.
pub fn history_path(tenant: &str) -> String {
    format!("/v1/tenants/{}/history", segment(tenant))
}

/// A client for one server.
#[derive(Clone)]
pub struct Client {
    base: String,
    /// What a path is put behind; the same, unless the server listens on a Unix socket.
    url: String,
    client: reqwest::Client,
    /// What calls bring; as an admin, unless something else is said.
    token: Option<String>,
}

impl Client {
    /// `base`: `http://ADDRESS` or `unix:PATH`.
    pub fn new(base: &str) -> Client {
        // Only plain HTTP is spoken, but the client does not start without it. An error means
        // that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        let mut url = base;
        if let Some(path) = base.strip_prefix("unix:") {
            client = client.unix_socket(path);
            url = "http://localhost";
        }
        Client {
            base: base.to_owned(),
            url: url.to_owned(),
            client: client.build().expect("a client"),
            token: Some(tokens::admin()),
        }
    }

    /// The same with another token.
    pub fn with(&self, token: &str) -> Client {
        Client {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same without a token.
    pub fn without(&self) -> Client {
        Client {
            token: None,
            ..self.clone()
        }
    }

    /// `http://ADDRESS` or `unix:PATH`.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let method = method.parse().expect("a method");
        let mut builder = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        Call {
            builder,
            what: path.to_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path).send().await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.call("PUT", path).json(body).send().await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path).send().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path).json(body).send().await
    }

    pub async fn resolve(&self, request: &Value) -> Reply {
        self.post("/v1/resolve", request).await
    }

    /// Stores a policy and returns its revision.
    pub async fn store(&self, tenant: &str, record: &Value) -> u64 {
        let reply = self.put(&policy_path(tenant), record).await;
        assert!(
            reply.status == 201 || reply.status == 200,
            "{tenant:?}: {reply:?}"
        );
        reply.revision()
    }
}

/// One call that is being put together.
pub struct Call {
    builder: reqwest::RequestBuilder,
    what: String,
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Call {
        // From bytes: a header may hold UTF-8, though not every constructor takes it.
        let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        self.builder = self.builder.header(name, value);
        self
    }

    /// Bytes that no text has.
    pub fn raw_header(mut self, name: &str, value: &[u8]) -> Call {
        let value = reqwest::header::HeaderValue::from_bytes(value).expect("a header");
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn json(mut self, body: &Value) -> Call {
        self.builder = self.builder.json(body);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.builder = self.builder.body(body.into());
        self
    }

    /// The body as given, said to be JSON.
    pub fn text(self, body: impl Into<Vec<u8>>) -> Call {
        self.header("content-type", "application/json").body(body)
    }

    /// The body as given, said to be a component.
    pub fn wasm(self, body: impl Into<Vec<u8>>) -> Call {
        self.header("content-type", "application/wasm").body(body)
    }

    pub async fn send(self) -> Reply {
        let what = self.what.clone();
        match self.try_send().await {
            Ok(reply) => reply,
            Err(error) => panic!("{what}: no answer: {error:?}"),
        }
    }

    /// For noise: reads what comes and looks at none of it, which would cost more than to answer.
    pub async fn ignored(self) {
        if let Ok(response) = self.builder.send().await {
            let _ = response.bytes().await;
        }
    }

    /// For calls whose server may be gone.
    pub async fn try_send(self) -> Result<Reply, reqwest::Error> {
        let response = self.builder.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply {
            status,
            headers,
            json,
            text,
        })
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// Null if it was no JSON.
    pub json: Value,
    pub text: String,
}

impl Reply {
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header's value, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// `revision` of the body.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        self.json["revision"]
            .as_u64()
            .unwrap_or_else(|| panic!("no revision: {self:?}"))
    }

    /// `Ordain-Revision`.
    #[track_caller]
    pub fn ordain_revision(&self) -> u64 {
        self.header("ordain-revision")
            .parse()
            .unwrap_or_else(|_| panic!("no revision: {self:?}"))
    }

    /// Where the answer was read: `near`, `far` or `origin`.
    pub fn tier(&self) -> &str {
        self.json["provenance"]["tier"].as_str().unwrap_or_default()
    }

    /// An RFC 9457 problem of this status and code, in full.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Reply {
        let reply = self.error(status);
        assert_eq!(reply.json["code"], code, "{reply:?}");
        reply
    }

    /// An RFC 9457 problem of this status, whatever its code.
    #[track_caller]
    pub fn error(self, status: u16) -> Reply {
        let reply = self.expect(status);
        let kind = reply.header("content-type");
        assert!(kind.starts_with("application/problem+json"), "{reply:?}");
        assert_problem(&reply.json, status);
        reply
    }

    /// The pointers of a 422, sorted, each once.
    #[track_caller]
    pub fn pointers(&self) -> std::collections::BTreeSet<String> {
        let errors = self.json["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no errors: {self:?}"));
        assert!(!errors.is_empty(), "{self:?}");
        let pointer = |error: &Value| {
            let members = error.as_object().unwrap_or_else(|| panic!("{self:?}"));
            assert!(
                members.keys().all(|k| k == "pointer" || k == "message"),
                "{self:?}"
            );
            assert!(
                error["message"].as_str().is_some_and(|m| !m.is_empty()),
                "{self:?}"
            );
            error["pointer"]
                .as_str()
                .unwrap_or_else(|| panic!("{self:?}"))
                .to_owned()
        };
        errors.iter().map(pointer).collect()
    }
}

/// The members of a problem: those of RFC 9457 with their types, and a stable code.
#[track_caller]
pub fn assert_problem(problem: &Value, status: u16) {
    assert_eq!(problem["status"], status, "{problem}");
    for member in ["title", "code"] {
        assert!(
            problem[member]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{member}: {problem}"
        );
    }
    for member in ["type", "detail", "instance"] {
        assert!(
            problem.get(member).is_none_or(Value::is_string),
            "{member}: {problem}"
        );
    }
    let code = problem["code"].as_str().unwrap_or_default();
    assert!(
        code.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
        "{problem}"
    );
}
