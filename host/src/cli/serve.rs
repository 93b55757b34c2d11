//! `ordain serve`: checks the configuration, says what runs and why what does not, migrates, serves,
//! and stops in order.

use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::import;
use super::output::{self, Failure};
use crate::access::Access;
use crate::caches::Caches;
use crate::config::{AccessSettings, Config, Settings, UNIX, strangers};
use crate::http::Listener;
use crate::options::{OriginChoice, masked_url};
use crate::ordain::Ordain;

/// Run the HTTP service
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  ordain serve --dev --load docs/demo-policies.jsonl
  DATABASE_URL=postgres://ordain@db/ordain ORDAIN_JWKS_FILE=keys.json ordain serve
  ordain serve --print-config

Every option has a variable; a flag wins over it, and an empty one counts as unset.")]
pub struct Serve {
    /// For development: no access control, policies in memory unless DATABASE_URL is set, loopback only
    #[arg(long)]
    dev: bool,

    /// Leave the database as it is (the default is to migrate it first)
    #[arg(long)]
    no_migrate: bool,

    /// Print the resulting configuration, secrets masked, and end
    #[arg(long)]
    print_config: bool,

    /// Policies to store at start, in any form that `policy import` takes
    #[arg(long, value_name = "FILE", requires = "dev")]
    load: Option<String>,

    #[command(flatten)]
    config: Config,
}

impl Serve {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let settings = self.config.settings(self.dev).map_err(Failure::new)?;
        let command = Config::augment_args(clap::Command::new("serve"));
        for remark in strangers(&command, std::env::vars_os()) {
            tracing::warn!("{remark}");
        }
        if self.print_config {
            return print(&settings, json);
        }
        let access = settings.access.start(self.dev).map_err(Failure::new)?;
        // Signals count from here on: a stop during the start must not be lost.
        let mut stop = Stop::new()?;
        let (ordain, listener, address) = tokio::select! {
            started = self.start(&settings) => started?,
            () = stop.asked() => {
                tracing::info!("stopped before the start was complete");
                return Ok(());
            }
        };
        announce(&settings, &address, self.load.is_some());
        if let Access::Tokens(verifier) = &access {
            verifier.follow();
        }
        let deadline = settings.options.request_deadline;
        let service = crate::http::service(ordain.clone(), deadline, access);
        let served = crate::http::serve(listener, service, async || stop.asked().await).await;
        ordain.close().await;
        tracing::info!("stopped");
        served.map_err(|error| Failure::new(format!("serving failed: {error}")))
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
            crate::ordain::migrate(url).await.map_err(Failure::new)?;
        }
        let ordain = Ordain::start(settings.options.clone())
            .await
            .map_err(Failure::new)?;
        if let Some(file) = &self.load {
            let entries =
                import::load(file)?.map_err(|broken| Failure::new(import::listed(&broken)))?;
            let reason = Some("loaded at start".to_owned());
            let outcome = import::store(&ordain, &entries, reason).await?;
            outcome.map_err(|broken| Failure::new(import::listed(&broken)))?;
            tracing::info!(file, policies = entries.len(), "loaded");
        }
        Ok((ordain, listener, address))
    }
}

/// The stop signals of a service manager and of a terminal.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Stop, Failure> {
        let open = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(format!("signals cannot be received: {error}")))
        };
        Ok(Stop {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
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
            tracing::info!(url = masked_url(url), "origin: postgres")
        }
    }
    if settings.dev {
        tracing::warn!("--dev: for development only, everybody may do everything");
        if settings.access != AccessSettings::default() {
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

fn print(settings: &Settings, json: bool) -> Result<(), Failure> {
    let shown = settings.shown();
    if json {
        let members = shown
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::from(value)));
        return output::line(&Value::Object(members.collect::<Map<_, _>>()).to_string());
    }
    for (name, value) in shown {
        match value {
            Some(value) => output::line(&format!("{name}={value}"))?,
            None => output::line(&format!("# {name} is not set"))?,
        }
    }
    Ok(())
}
