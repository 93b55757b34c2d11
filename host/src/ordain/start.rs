//! Starting an Ordain: backends, component, feed. Not for reading configuration (`config.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{ComponentInfo, Inner, Ordain};
use crate::backends::memory::MemoryOrigin;
use crate::backends::postgres::{Postgres, PostgresOptions, SchemaError, SchemaStatus};
use crate::backends::redis::{Authorities, AuthoritiesError, OpenError, RedisFar};
use crate::backends::{ChangeLog, Origin, OriginError};
use crate::caches::Caches;
use crate::capabilities::Services;
use crate::coherence::Coherence;
use crate::coherence::auditor::{Auditor, Findings};
use crate::coherence::far::Far;
use crate::coherence::feed::Feed;
use crate::coherence::origin::OriginReader;
use crate::coherence::restamp::Restamper;
use crate::options::{Options, OriginChoice};
use crate::runtime::{EngineError, Generation, GuestEngine, LoadError, Runtime, inspect};

/// Fills that wait for the feed at once; one more is dropped, which costs a later miss.
const LATE_FILLS_MAX: usize = 256;
/// Calls at once that read or write the origin itself (records, lists, writes): one more is told to
/// try again.
const DIRECT_MAX: usize = 256;
/// For a look at the schema.
const SCHEMA_DEADLINE: Duration = Duration::from_secs(3);

/// Why an Ordain did not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot read the component {}: {source}; build it with `make guest` or name another with --component (ORDAIN_COMPONENT)", path.display())]
    ComponentFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot load the component {}: {source}", path.display())]
    Component { path: PathBuf, source: LoadError },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot use the database: {0}")]
    Origin(#[from] OriginError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("cannot use REDIS_URL: {0}")]
    Far(OpenError),
    #[error("cannot use {} as the authorities of Redis (--redis-ca, ORDAIN_REDIS_CA): {source}", path.display())]
    RedisCa {
        path: PathBuf,
        source: AuthoritiesError,
    },
    #[error(
        "the database's schema is missing or too old: run `ordain migrate` (or `ordain serve` without --no-migrate)"
    )]
    NotMigrated,
    #[error("starting was interrupted")]
    Interrupted,
}

/// Chooses what an Ordain is started with; everything has a default.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// The component file; default `ordain-policy.wasm` beside the executable.
    pub fn component(mut self, file: impl Into<PathBuf>) -> Builder {
        self.options.component = file.into();
        self
    }

    /// Keeps policies in this database, after migrating it. Default: in memory.
    pub fn postgres(mut self, url: impl Into<String>) -> Builder {
        let url = url.into();
        self.options.origin = OriginChoice::Postgres {
            url,
            migrate_url: None,
        };
        self
    }

    /// Shares a far cache with other instances. Default: none.
    pub fn redis(mut self, url: impl Into<String>) -> Builder {
        self.options.redis_url = Some(url.into());
        self
    }

    /// Everything else.
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Builder {
        change(&mut self.options);
        self
    }

    /// Migrates the database, if there is one, and starts.
    pub async fn start(self) -> Result<Ordain, StartError> {
        if let OriginChoice::Postgres { url, migrate_url } = &self.options.origin {
            migrate(migrate_url.as_ref().unwrap_or(url)).await?;
        }
        Ordain::start(self.options).await
    }
}

impl Ordain {
    /// Connects, loads the component, and starts to follow the log. Migrates nothing: a database
    /// that answers and lacks the schema is refused. Redis and Postgres may be down: what needs
    /// them waits for them.
    pub async fn start(options: Options) -> Result<Ordain, StartError> {
        let (origin, log) = open_origin(&options).await?;
        let far = open_far(&options)?;
        let window = usize::try_from(options.window).unwrap_or(usize::MAX);
        let coherence = Arc::new(Coherence::new(options.near_bytes, window));
        let caches = Arc::new(Caches::new(&options));
        let reader = Arc::new(OriginReader::new(origin.clone(), coherence.clone()));
        let services = Arc::new(Services {
            coherence: coherence.clone(),
            origin: reader.clone(),
            far: far.clone(),
            caches: caches.clone(),
            options: options.clone(),
            late_fills: Arc::new(Semaphore::new(LATE_FILLS_MAX)),
        });
        let generation = load(&options.component, services.clone()).await?;
        let runtime = Runtime::new(Arc::new(generation), options.request_deadline);
        let feed = Feed {
            coherence: coherence.clone(),
            log,
            reader: reader.clone(),
            caches: caches.clone(),
            unsettled: AtomicBool::new(false),
        }
        .run();
        let mut tasks = vec![tokio::spawn(feed)];
        let restamps = Arc::new(AtomicU64::new(0));
        if let Some(far) = &far {
            let restamper = Restamper {
                coherence: coherence.clone(),
                far: far.clone(),
                caches: caches.clone(),
                ttl: options.far_ttl,
                count: restamps.clone(),
            };
            tasks.push(tokio::spawn(restamper.run()));
        }
        let findings = Arc::new(Findings::default());
        if !options.audit_interval.is_zero() {
            let auditor = Auditor {
                coherence: coherence.clone(),
                origin: origin.clone(),
                reader: reader.clone(),
                far: far.clone(),
                caches: caches.clone(),
                interval: options.audit_interval,
                findings: findings.clone(),
            };
            tasks.push(tokio::spawn(auditor.run()));
        }
        let inner = Inner {
            options,
            runtime,
            coherence,
            origin,
            reader,
            far,
            caches,
            direct: Arc::new(Semaphore::new(DIRECT_MAX)),
            restamps,
            findings,
            tasks,
        };
        Ok(Ordain {
            inner: Arc::new(inner),
        })
    }
}

async fn open_origin(
    options: &Options,
) -> Result<(Arc<dyn Origin>, Arc<dyn ChangeLog>), StartError> {
    match &options.origin {
        OriginChoice::Memory => {
            let memory = Arc::new(MemoryOrigin::new());
            Ok((memory.clone(), memory))
        }
        OriginChoice::Postgres { url, .. } => {
            let postgres = Postgres::connect(PostgresOptions {
                deadline: options.origin_deadline,
                feed_deadline: options.feed_deadline,
                connections: usize::try_from(options.origin_connections).unwrap_or(usize::MAX),
                ..PostgresOptions::new(url)
            })?;
            refuse_other_schema(&postgres).await?;
            Ok((postgres.clone(), postgres))
        }
    }
}

/// A database that is down may come up later; one that answers and has no schema never will.
async fn refuse_other_schema(postgres: &Postgres) -> Result<(), StartError> {
    match tokio::time::timeout(SCHEMA_DEADLINE, postgres.schema_status()).await {
        Ok(Ok(SchemaStatus::Current | SchemaStatus::Ahead { .. })) => Ok(()),
        Ok(Ok(SchemaStatus::Missing | SchemaStatus::Behind { .. })) => Err(StartError::NotMigrated),
        Ok(Err(SchemaError::Unreachable(cause))) => {
            tracing::warn!(cause, "the database cannot be reached yet");
            Ok(())
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            tracing::warn!("the database does not answer yet");
            Ok(())
        }
    }
}

fn open_far(options: &Options) -> Result<Option<Arc<Far>>, StartError> {
    let Some(url) = &options.redis_url else {
        return Ok(None);
    };
    let authorities = match &options.redis_ca {
        None => Authorities::default(),
        Some(path) => Authorities::from_file(path).map_err(|source| StartError::RedisCa {
            path: path.clone(),
            source,
        })?,
    };
    let backend = RedisFar::connect_believing(authorities, url, options.far_deadline)
        .map_err(StartError::Far)?;
    if options.redis_ca.is_some() && !backend.uses_tls() {
        tracing::warn!("ORDAIN_REDIS_CA is set, but REDIS_URL does not use TLS (rediss://)");
    }
    let far = Far::new(Arc::new(backend), &options.far_keys);
    Ok(Some(Arc::new(far)))
}

async fn load(path: &Path, services: Arc<Services>) -> Result<Generation, StartError> {
    let bytes = read(path)?;
    let engine = GuestEngine::new()?;
    // Compiling computes for a while: not on a thread that serves.
    tokio::task::spawn_blocking(move || Generation::load(&engine, &bytes, services))
        .await
        .map_err(|_| StartError::Interrupted)?
        .map_err(|source| StartError::Component {
            path: path.into(),
            source,
        })
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::ComponentFile {
        path: path.into(),
        source,
    })
}

/// Digest, size, world, imports and exports of a component; runs none of it.
pub fn inspect_component(bytes: &[u8]) -> Result<ComponentInfo, InspectError> {
    Ok(inspect(&*GuestEngine::new()?, bytes)?)
}

/// Why a component could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Component(#[from] LoadError),
}

/// Brings the database's schema up to date.
pub async fn migrate(url: &str) -> Result<(), StartError> {
    Ok(Postgres::migrate(url).await?)
}
