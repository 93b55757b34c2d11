//! `ordain serve`: checks the configuration, says what runs and why what does not, migrates,
//! serves, and stops in order.

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::import;
use super::output;
use super::reply::Failure;
use crate::access::Access;
use crate::config::{Config, ConfigError, Draft, Settings, Source, Sources, UNIX, strangers};
use crate::http::{self, Asked, Edge, Listener, NoRoom};
use ordain::door::Ordain;
use ordain::options::OriginChoice;
use ordain_coherence::caches::Caches;

/// Connections to Postgres beside those for reads and writes: for all tenants, feed, LISTEN, spare
/// ones.
const POSTGRES_MORE: usize = 12;
/// Connections to Redis: the nodes of a cluster, and new ones beside old ones.
const REDIS: usize = 32;

/// Run the HTTP service
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  ordain serve --dev --load docs/demo-policies.jsonl
  DATABASE_URL=postgres://ordain@db/ordain ORDAIN_JWKS_FILE=keys.json ordain serve
  ordain serve --print-config

Every option has a variable and a line in ordain.toml; a flag wins over its variable, and that over the file.
An empty variable counts as unset. All of them: docs/configuration.md")]
pub struct Serve {
    /// For development: no access control, policies in memory unless DATABASE_URL is set, loopback
    /// only
    #[arg(long)]
    dev: bool,

    /// Leave the database as it is (the default is to migrate it first)
    #[arg(long)]
    no_migrate: bool,

    /// Print the resulting configuration, secrets masked, and end; what is missing or wrong is told
    /// then
    #[arg(long)]
    print_config: bool,

    /// Policies to store at start, in any form that `policy import` takes
    #[arg(long, value_name = "FILE", requires = "dev")]
    load: Option<String>,

    #[command(flatten)]
    config: Config,

    /// Where the values come from.
    #[arg(skip)]
    pub sources: Sources,
}

impl Serve {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let options = Config::augment_args(clap::Command::new("serve"));
        let refused = |message: String| Failure::Usage(self.sources.told(&message));
        let mut faults = strangers(&options, std::env::vars_os());
        let mut draft = self.config.draft(self.dev);
        if !self.dev && !self.config.access.names_keys() {
            draft.refuse(ConfigError::NoKey);
        }
        if self.print_config {
            self.print(&draft, json)?;
        }
        let settings = draft.settings();
        faults.extend(settings.as_ref().err().map(ConfigError::to_string));
        let settings = match settings {
            Ok(settings) if faults.is_empty() => settings,
            _ => return Err(refused(faults.join("\n"))),
        };
        if self.print_config {
            return Ok(());
        }
        let access = settings.access.start(self.dev);
        let access = access.map_err(|error| refused(error.to_string()))?;
        // Keys of a URL come while the rest starts.
        if let Access::Tokens(verifier) = &access {
            verifier.follow();
        }
        let room = self
            .room(&settings)
            .map_err(|error| refused(error.to_string()))?;
        // Signals count from here on: a stop during the start must not be lost.
        let mut stop = Stop::new()?;
        reload_on_hangup(access.clone())?;
        let (ordain, listener, address) = tokio::select! {
            started = self.start(&settings) => started?,
            _ = stop.asked() => {
                tracing::info!("stopped before the start was complete");
                return Ok(());
            }
        };
        announce(&settings, &address, self.load.is_some());
        let deadline = settings.options.request_deadline;
        let edge = Arc::new(Edge::new(room, settings.edge.idle));
        let service = http::Service::new(ordain.clone(), deadline, access, edge);
        let asked = async || stop.asked().await;
        http::serve(listener, service, settings.dev, settings.edge.drain, asked).await;
        ordain.close().await;
        tracing::info!("stopped");
        Ok(())
    }

    /// How many connections there is room for beside those to servers.
    fn room(&self, settings: &Settings) -> Result<usize, NoRoom> {
        let options = &settings.options;
        let postgres = match &options.origin {
            OriginChoice::Memory => 0,
            OriginChoice::Postgres { .. } => options.origin_connections as usize + POSTGRES_MORE,
        };
        let redis = options.redis_url.as_ref().map_or(0, |_| REDIS);
        let wanted = settings.edge.connections.map(|number| number as usize);
        http::room(wanted, postgres + redis)
    }

    async fn start(&self, settings: &Settings) -> Result<(Ordain, Listener, String), Failure> {
        report(settings);
        let listener = Listener::bind(&settings.listen).await;
        let listener = listener.map_err(Failure::new)?;
        let address = listener.address().map_err(Failure::new)?;
        if let OriginChoice::Postgres { url, migrate_url } = &settings.options.origin
            && !self.no_migrate
        {
            let url = migrate_url.as_ref().unwrap_or(url);
            ordain::door::migrate(url.reveal(), &settings.options.schema)
                .await
                .map_err(Failure::new)?;
        }
        let ordain = Ordain::start(settings.options.clone())
            .await
            .map_err(Failure::new)?;
        if let Some(file) = &self.load {
            let policies = import::load(file)?;
            let count = policies.entries.len();
            let reason = Some("loaded at start".to_owned());
            import::store(&ordain, policies, reason).await?;
            tracing::info!(file, policies = count, "loaded");
        }
        Ok((ordain, listener, address))
    }
}

impl Serve {
    /// Where the value of an option comes from.
    fn source(&self, variable: &str) -> Source {
        match self.sources.of(variable) {
            Source::Default if self.dev && variable == "ORDAIN_ENV" => {
                Source::Flag("--dev".to_owned())
            }
            source => source,
        }
    }

    fn print(&self, draft: &Draft, json: bool) -> Result<(), Failure> {
        let mut shown: Vec<_> = draft
            .shown()
            .into_iter()
            .map(|(name, value)| (self.source(name), name, value))
            .collect();
        if json {
            let member = |(source, name, value): (Source, &str, Option<String>)| {
                let from = source.to_string();
                (name.to_owned(), json!({"value": value, "from": from}))
            };
            let members: Map<_, _> = shown.into_iter().map(member).collect();
            return output::line(&Value::Object(members).to_string());
        }
        // What was said first, then defaults, then what has none.
        let rank = |source: &Source, value: &Option<String>| (value.is_none(), source.clone());
        shown.sort_by_key(|(source, _, value)| rank(source, value));
        let mut last = None;
        for (source, name, value) in shown {
            match value {
                Some(value) => {
                    if last.as_ref() != Some(&source) {
                        output::line(&format!("# {source}"))?;
                    }
                    output::line(&format!("{name}={}", quoted(&value)))?;
                }
                None if source == Source::Default => {
                    output::line(&format!("# {name} is not set"))?;
                }
                None => output::line(&format!("# {name} cannot be used ({source})"))?,
            }
            last = Some(source);
        }
        Ok(())
    }
}

/// As a shell reads it.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@+=%*".contains(c);
    match value.chars().all(plain) && !value.is_empty() {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', "'\\''")),
    }
}

/// The stop signals of a service manager and of a terminal.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Stop, Failure> {
        Ok(Stop {
            terminate: received(SignalKind::terminate())?,
            interrupt: received(SignalKind::interrupt())?,
        })
    }

    /// A service manager has others to tell; whoever presses Ctrl-C waits.
    async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::ToLeave,
            _ = self.interrupt.recv() => Asked::ToStop,
        }
    }
}

/// SIGHUP means what it means to most services, and never that this one ends.
fn reload_on_hangup(access: Access) -> Result<(), Failure> {
    let mut hangup = received(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &access {
                Access::Tokens(verifier) => {
                    tracing::info!("SIGHUP: keys are read again");
                    verifier.reload();
                }
                Access::Open(_) => tracing::info!("SIGHUP: there are no keys to read again"),
            }
        }
    });
    Ok(())
}

fn received(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(format!("signals cannot be received: {error}")))
}

/// Says what the configuration amounts to, each cache with the reason if it is off.
fn report(settings: &Settings) {
    let options = &settings.options;
    match &options.origin {
        OriginChoice::Memory => {
            tracing::warn!(
                "policies live in memory and are gone when this process ends (DATABASE_URL is not set)"
            );
        }
        OriginChoice::Postgres { url, .. } => {
            tracing::info!(%url, schema = %options.schema, "origin: postgres")
        }
    }
    if settings.dev {
        tracing::warn!("--dev: for development only, everybody may do everything");
        if settings.access.is_given() {
            tracing::warn!("--dev: the keys and rules for tokens that are configured do not count");
        }
    }
    if !settings.dev && settings.access.is_for_anybody() {
        tracing::warn!(
            "ORDAIN_JWT_AUDIENCE is not set: tokens that the same keys sign for other services are taken"
        );
    }
    let caches = Caches::new(options);
    for cache in caches.caches() {
        let (kind, tier) = (cache.kind, cache.tier);
        match cache.off {
            None => tracing::info!("cache {kind} {tier}: on"),
            Some(reason) => tracing::info!("cache {kind} {tier}: off, because {reason}"),
        }
    }
    if caches.in_force().far.any() && options.far_keys.is_empty() {
        tracing::warn!(
            "ORDAIN_FAR_KEY is not set: whoever can write to Redis can forge what far answers"
        );
    }
}

/// `address`: `http://ADDRESS` or `unix:PATH`.
fn announce(settings: &Settings, address: &str, demo: bool) {
    let mut out = std::io::stdout().lock();
    // A service whose starter does not read goes on.
    let _ = writeln!(out, "listening on {address}").and_then(|()| out.flush());
    drop(out);
    tracing::info!(address, environment = ?settings.environment, "serving");
    if demo {
        let server = match address.strip_prefix(UNIX) {
            Some(path) => format!("--unix-socket {path} http://localhost"),
            None => address.to_owned(),
        };
        output::note(&format!(
            "try it:\n  curl -s {server}/v1/resolve -d '{{\"tenant\":\"acme\",\"task\":\"chat\"}}' \
             -H 'content-type: application/json'"
        ));
    }
}
