//! Whom a command talks to: a running server, or the same routes in this process on a database.
//! Both take the same calls and give the same answers.

mod follow;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderValue, Method, Request, Response, Uri};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use tower::ServiceExt;

use super::output;
use super::reply::{Failure, Reply};
use crate::access::Access;
use crate::config::{Config, File, Reader, UNIX, faulty, prepared, socket_path, variable};
use crate::http::{LINES, Service};
use ordain::door::Ordain;
use ordain::options::{Options, OriginChoice};
use ordain_store::Origin;
use ordain_store::ids::Tenant;
use ordain_store::postgres::{Postgres, PostgresOptions, SchemaError};
use ordain_store::secret::{Secret, SecretUrl, masked_url};

const DEFAULT_SERVER: &str = "http://127.0.0.1:7171";
/// Longest wait for a server; its own deadlines are much shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for a database: its name may not resolve, or the network swallow what is sent.
const REACH: Duration = Duration::from_secs(5);
/// What a path segment may hold as it is (RFC 3986 "unreserved").
pub const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What a header cannot hold as it is, and the sign that says so.
const REASON: &AsciiSet = &CONTROLS.add(b'%');

/// Server or database to work with
#[derive(clap::Args, Clone, Default)]
pub struct TargetArgs {
    /// A running server, also unix:/run/ordain.sock [env: ORDAIN_SERVER] [default:
    /// http://127.0.0.1:7171]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,

    /// Work on this database without a server [env: DATABASE_URL]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretUrl>,

    /// Who asks the server: a token, as `ordain token` makes them
    #[arg(long, env = "ORDAIN_TOKEN", value_name = "TOKEN")]
    pub token: Option<Secret>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    Server(String),
    Database(SecretUrl),
}

impl TargetArgs {
    /// A flag wins over a variable, and a server over a database.
    pub fn choose(&self, variable: impl Fn(&str) -> Option<String>) -> Choice {
        let variable = |name| variable(name).filter(|text| !text.is_empty());
        let given = |flag: &Option<String>| flag.clone().filter(|text| !text.is_empty());
        let database = self.database_url.clone().filter(|url| !url.is_empty());
        given(&self.server)
            .map(Choice::Server)
            .or_else(|| database.map(Choice::Database))
            .or_else(|| variable("ORDAIN_SERVER").map(Choice::Server))
            .or_else(|| variable("DATABASE_URL").map(|url| Choice::Database(url.into())))
            .unwrap_or_else(|| Choice::Server(DEFAULT_SERVER.to_owned()))
    }

    pub async fn open(&self) -> Result<Target, Failure> {
        self.open_with(true).await
    }

    /// For a command that no rule has a say in: on a database it starts no engine.
    pub async fn open_records(&self) -> Result<Target, Failure> {
        self.open_with(false).await
    }

    async fn open_with(&self, rules: bool) -> Result<Target, Failure> {
        match self.choose(|name| variable(name)?.into_string().ok()) {
            Choice::Server(url) => server(&url, self.token.as_ref()),
            Choice::Database(url) => database(url, rules).await,
        }
    }
}

/// Whom a command talks to. Dropping an embedded one ends its background work with the process.
pub enum Target {
    Server {
        client: reqwest::Client,
        base: String,
        /// What people know it by.
        name: String,
        /// What `Authorization` says.
        token: Option<HeaderValue>,
    },
    Embedded {
        service: Service,
    },
}

fn server(url: &str, token: Option<&Secret>) -> Result<Target, Failure> {
    let token = token.filter(|token| !token.is_empty()).map(bearer);
    let token = token.transpose()?;
    if let Some(path) = url.strip_prefix(UNIX) {
        let path = socket_path(path).map_err(Failure::Usage)?;
        return Ok(Target::Server {
            client: client(url, plain_client().no_proxy().unix_socket(path))?,
            // Of the URL only the path goes over the socket; the name is what `Host` says.
            base: "http://localhost".to_owned(),
            name: url.to_owned(),
            token,
        });
    }
    let base = url.trim_end_matches('/').to_owned();
    let no_url = || {
        // A name of a host without more is no secret.
        let shown = match url.contains(['/', '@', '?', '#', '=', '%']) {
            true => masked_url(url),
            false => url.to_owned(),
        };
        Failure::Usage(format!("{shown} is no URL like {DEFAULT_SERVER}"))
    };
    let uri: Uri = base.parse().map_err(|_| no_url())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let mut builder = match uri.scheme_str() {
        Some("http") => plain_client(),
        Some("https") => reqwest::Client::builder(),
        _ => return Err(no_url()),
    };
    if local {
        builder = builder.no_proxy();
    } else if token.is_some() && uri.scheme_str() == Some("http") {
        output::note("warning: the token goes over the network in the clear: use https");
    }
    Ok(Target::Server {
        client: client(url, builder)?,
        name: masked_url(&base),
        base,
        token,
    })
}

fn bearer(token: &Secret) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal().trim()));
    let mut value = value.map_err(|_| {
        Failure::Usage(
            "ORDAIN_TOKEN (--token) is no token: it has characters that none has".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Without TLS: no certificate is needed, and a machine without any must do.
fn plain_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().tls_certs_only([])
}

fn client(url: &str, builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    // An error means that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.timeout(PATIENCE).build().map_err(|error| {
        Failure::new(format!(
            "no connection to {} can be made: {error}",
            masked_url(url)
        ))
    })
}

async fn database(url: SecretUrl, rules: bool) -> Result<Target, Failure> {
    // A URL that cannot be read is a slip of the pen, no server that is down.
    ordain_store::postgres::check_url(url.reveal())
        .map_err(|why| Failure::Usage(format!("--database-url (DATABASE_URL): {why}")))?;
    let config = environment()?;
    let origin = OriginChoice::Postgres {
        url,
        migrate_url: None,
    };
    let mut options = config.options(origin).map_err(Failure::usage)?;
    // One person waits, and the first call has to connect: better late than to be told to try
    // again.
    options.origin_deadline = options.origin_deadline.max(PATIENCE / 3);
    options.request_deadline = options.request_deadline.max(PATIENCE / 2);
    let deadline = options.request_deadline;
    // One person waits: a database that cannot be reached is the answer, not a reason to wait on.
    reached(&options).await?;
    let ordain = Ordain::start_for_command(options, rules).await;
    let ordain = ordain.map_err(Failure::new)?;
    if rules {
        ordain.opened(PATIENCE / 3).await;
    }
    let service = Service::new(ordain, deadline, Access::open(), Arc::default());
    Ok(Target::Embedded { service })
}

/// A server waits for a database that may come up later; a command says that it is not there.
async fn reached(options: &Options) -> Result<(), Failure> {
    let OriginChoice::Postgres { url, .. } = &options.origin else {
        return Ok(());
    };
    let origin = Postgres::connect(PostgresOptions {
        schema: options.schema.clone(),
        ..PostgresOptions::new(url.reveal())
    });
    let origin = origin.map_err(Failure::new)?;
    let shown = origin.describe();
    match tokio::time::timeout(REACH, origin.schema_status()).await {
        Ok(Err(SchemaError::Unreachable(why))) => Err(Failure::new(format!(
            "cannot reach the database ({shown}): {why}"
        ))),
        // Whatever else is wrong with it is told by who uses it.
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::new(format!(
            "cannot reach the database ({shown}): no answer within {} s",
            REACH.as_secs()
        ))),
    }
}

/// The configuration as environment and file give it.
pub fn environment() -> Result<Config, Failure> {
    #[derive(clap::Parser)]
    struct Environment {
        #[command(flatten)]
        config: Config,
    }
    let command = <Environment as clap::CommandFactory>::command();
    let named = variable("ORDAIN_CONFIG").map(std::path::PathBuf::from);
    let faults = faulty(&command, &[]);
    if !faults.is_empty() {
        return Err(Failure::Usage(faults.join("\n  ")));
    }
    let file = File::load(named.as_deref(), &command, Reader::Command).map_err(Failure::usage)?;
    let command = match &file {
        Some(file) => file.as_defaults(command),
        None => command,
    };
    prepared(command)
        .try_get_matches_from(["ordain"])
        .and_then(|matches| <Environment as clap::FromArgMatches>::from_arg_matches(&matches))
        .map(|environment| environment.config)
        .map_err(Failure::usage)
}

/// One call.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Bytes>,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn header(mut self, name: &'static str, value: Option<impl ToString>) -> Call {
        self.headers
            .extend(value.map(|value| (name, value.to_string())));
        self
    }

    /// In ASCII: not everything on the way lets other bytes pass as they are.
    pub fn reason(self, reason: Option<impl AsRef<str>>) -> Call {
        let encoded = reason.map(|text| utf8_percent_encode(text.as_ref(), REASON).to_string());
        self.header("ordain-reason", encoded)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = Some(Bytes::from(body.into()));
        self.header("content-type", Some("application/json"))
    }

    /// A body of JSON lines.
    pub fn lines(mut self, body: Bytes) -> Call {
        self.body = Some(body);
        self.header("content-type", Some(LINES))
    }

    pub fn query(mut self, name: &str, value: Option<impl ToString>) -> Call {
        if let Some(value) = value {
            let sign = if self.path.contains('?') { '&' } else { '?' };
            let value = value.to_string();
            // Writing to a String cannot fail.
            let _ = write!(
                self.path,
                "{sign}{name}={}",
                utf8_percent_encode(&value, SEGMENT)
            );
        }
        self
    }
}

/// Refuses here what is no tenant: clients resolve `..` in a path before a server could refuse it.
pub fn tenant_path(tenant: &str, rest: &str) -> Result<String, Failure> {
    let tenant = Tenant::new(tenant).map_err(|error| Failure::Usage(error.to_string()))?;
    let tenant = utf8_percent_encode(tenant.as_str(), SEGMENT);
    Ok(format!("/v1/tenants/{tenant}{rest}"))
}

impl Target {
    /// Sends a call; any answer of the service is an answer, also a refusal to do it.
    pub async fn send(&self, call: Call) -> Result<Reply, Failure> {
        match self {
            Target::Server {
                client,
                base,
                name,
                token,
            } => remote(client, base, name, token.as_ref(), call).await,
            Target::Embedded { service } => embedded(service.clone(), call).await,
        }
    }

    /// Sends a call that must succeed.
    pub async fn ask(&self, call: Call) -> Result<Reply, Failure> {
        let reply = self.send(call).await?;
        if reply.status.is_success() {
            Ok(reply)
        } else {
            Err(Failure::Answer(Box::new(reply)))
        }
    }
}

async fn remote(
    client: &reqwest::Client,
    base: &str,
    shown: &str,
    token: Option<&HeaderValue>,
    call: Call,
) -> Result<Reply, Failure> {
    let failed = |error| failed(shown, error);
    let answer = request(client, base, token, call).send().await;
    let answer = answer.map_err(failed)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(failed)?;
    Ok(Reply {
        status,
        headers,
        body,
    })
}

fn request(
    client: &reqwest::Client,
    base: &str,
    token: Option<&HeaderValue>,
    call: Call,
) -> reqwest::RequestBuilder {
    let mut request = client.request(call.method, format!("{base}{}", call.path));
    for (name, value) in call.headers {
        request = request.header(name, value.into_bytes());
    }
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.clone());
    }
    match call.body {
        Some(body) => request.body(body),
        None => request,
    }
}

/// What is told of a server, called `shown`, that gives no answer.
fn failed(shown: &str, error: reqwest::Error) -> Failure {
    let advice = if error.is_timeout() {
        format!(
            "the server at {shown} did not answer within {} s",
            PATIENCE.as_secs()
        )
    } else if error.is_connect() {
        format!(
            "no server answers at {shown}: start one with `ordain serve --dev`, name another with \
             --server or ORDAIN_SERVER, or work without one with --database-url"
        )
    } else {
        format!("the connection to the server at {shown} broke")
    };
    Failure::new(format!("{advice} ({})", cause(&error.without_url())))
}

/// The innermost cause: the others only repeat that something failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

async fn embedded(service: Service, call: Call) -> Result<Reply, Failure> {
    let (parts, body) = within(service, call).await?.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX)
        .await
        .map_err(Failure::new)?;
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// Calls the routes in this process.
async fn within(service: Service, call: Call) -> Result<Response<Body>, Failure> {
    let mut request = Request::builder().method(call.method).uri(call.path);
    for (name, value) in call.headers {
        request = request.header(name, value.into_bytes());
    }
    let body = call.body.map_or_else(Body::empty, Body::from);
    let request = request
        .body(body)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let Ok(answer) = service.oneshot(request).await;
    Ok(answer)
}
