//! Starting an Ordain: backends, component, feed. Not for reading configuration: the server does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::components::{Components, Part, Stamp, read_signed};
use super::ordain::{Inner, Ordain};
use super::{ComponentInfo, batch};
use crate::capabilities::Services;
use crate::options::{Options, OriginChoice};
use crate::runtime::{
    EngineError, Generation, GuestEngine, LoadError, Loader, Room, Runtime, Vectors, VectorsError,
    inspect,
};
use ordain_coherence::auditor::{Auditor, Findings};
use ordain_coherence::caches::Caches;
use ordain_coherence::far::Far;
use ordain_coherence::feed::Feed;
use ordain_coherence::origin::OriginReader;
use ordain_coherence::places::{Direct, Places};
use ordain_coherence::restamp::Restamper;
use ordain_coherence::shares::Charge;
use ordain_coherence::{Coherence, Moment};
use ordain_store::memory::MemoryOrigin;
use ordain_store::postgres::{Postgres, PostgresOptions, SchemaError, SchemaName, SchemaStatus};
use ordain_store::redis::{Authorities, AuthoritiesError, OpenError, RedisFar};
use ordain_store::secret::SecretUrl;
use ordain_store::supervise::Tasks;
use ordain_store::{ChangeLog, Origin, OriginError};

/// Fills that wait for the feed at once; one more is dropped, which costs a later miss.
const LATE_FILLS_MAX: usize = 256;
/// For the promoted component to be fetched and loaded, if there is one.
const COMPONENT_DEADLINE: Duration = Duration::from_secs(20);
/// For the log, where nothing that is promoted matters.
const FIRST_LOOK: Duration = Duration::from_secs(1);
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
    /// The component is not to blame.
    #[error("no component can run here: {0}")]
    Denied(String),
    #[error(transparent)]
    Vectors(#[from] VectorsError),
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
    pub fn postgres(mut self, url: impl Into<SecretUrl>) -> Builder {
        let url = url.into();
        self.options.origin = OriginChoice::Postgres {
            url,
            migrate_url: None,
        };
        self
    }

    /// Shares a far cache with other instances. Default: none.
    pub fn redis(mut self, url: impl Into<SecretUrl>) -> Builder {
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
            let url = migrate_url.as_ref().unwrap_or(url);
            migrate(url.reveal(), &self.options.schema).await?;
        }
        Ordain::start(self.options).await
    }
}

impl Ordain {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Connects, loads the component, and starts to follow the log. Migrates nothing: a database
    /// that answers and lacks the schema is refused. Redis and Postgres may be down: what needs
    /// them waits for them.
    pub async fn start(options: Options) -> Result<Ordain, StartError> {
        Ordain::start_with(options, Some(Room::Pool)).await
    }

    /// The same for one command, with rules or without: reserves nothing. Without rules no
    /// component is loaded, and whatever asks for one fails.
    pub async fn start_for_command(options: Options, rules: bool) -> Result<Ordain, StartError> {
        Ordain::start_with(options, rules.then_some(Room::OnDemand)).await
    }

    async fn start_with(options: Options, room: Option<Room>) -> Result<Ordain, StartError> {
        let (origin, log) = open_origin(&options).await?;
        let far = open_far(&options)?;
        let window = usize::try_from(options.window).unwrap_or(usize::MAX);
        let coherence = Arc::new(Coherence::new(options.near_bytes, window));
        let caches = Arc::new(Caches::new(&options));
        let connections = usize::try_from(options.origin_connections).unwrap_or(usize::MAX);
        let reads = Places::reads(connections);
        let reader = OriginReader::new(origin.clone(), coherence.clone(), reads);
        let reader = Arc::new(reader);
        let services = Arc::new(Services {
            coherence: coherence.clone(),
            origin: reader.clone(),
            far: far.clone(),
            caches: caches.clone(),
            options: options.clone(),
            late_fills: Arc::new(Semaphore::new(LATE_FILLS_MAX)),
        });
        let loader = loader(&options, services.clone(), room)?;
        let path = options.component.clone();
        let (file, seen) = match room {
            Some(_) => file(&loader, &path).await?,
            None => (Arc::new(Generation::absent(services)), None),
        };
        let runtime = Arc::new(Runtime::closed(file.clone(), options.request_deadline));
        let feed = Feed::new(coherence.clone(), log, reader.clone(), caches.clone());
        let components = Arc::new(Components::new(
            loader,
            origin.clone(),
            options.components.clone(),
            path,
            (file, seen),
            feed.component.subscribe(),
        ));
        let supervised = Arc::new(Tasks::default());
        let feed = Arc::new(feed);
        let mut tasks = vec![supervised.spawn("feed", move |n| feed.clone().run(n))];
        if room.is_some() {
            let (follower, runs) = (components.clone(), runtime.clone());
            let follow = move |_| follower.clone().follow(runs.clone());
            tasks.push(supervised.spawn("components", follow));
        }
        let restamps = Arc::new(AtomicU64::new(0));
        if let Some(far) = &far {
            let restamper = Arc::new(Restamper {
                coherence: coherence.clone(),
                far: far.clone(),
                caches: caches.clone(),
                ttl: options.far_ttl,
                count: restamps.clone(),
            });
            tasks.push(supervised.spawn("restamp", move |_| restamper.clone().run()));
        }
        let findings = Arc::new(Findings::default());
        if !options.audit_interval.is_zero() {
            let auditor = Arc::new(Auditor {
                coherence: coherence.clone(),
                origin: origin.clone(),
                reader: reader.clone(),
                far: far.clone(),
                caches: caches.clone(),
                interval: options.audit_interval,
                findings: findings.clone(),
            });
            tasks.push(supervised.spawn("auditor", move |_| auditor.clone().run()));
        }
        let inner = Inner {
            options,
            runtime,
            components,
            coherence,
            origin,
            reader,
            far,
            caches,
            deciding: Default::default(),
            direct: Direct::new(connections),
            batches: batch::turns(),
            restamps,
            findings,
            supervised,
            tasks,
        };
        let ordain = Ordain {
            inner: Arc::new(inner),
            charge: Charge::default(),
        };
        match room {
            Some(_) => ordain.take_promoted().await,
            None => ordain.know_the_log(FIRST_LOOK).await,
        }
        ordain.look_at_far(room);
        Ok(ordain)
    }

    /// Waits, for a bounded time, until it is settled which component answers: after a start at
    /// which the origin was slow, that may be a little later.
    pub async fn opened(&self, limit: Duration) {
        let look = async {
            while !self.inner.runtime.is_open() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Whoever asks then is told why there is no answer.
        let _ = tokio::time::timeout(limit, look).await;
    }

    /// Finds out in the background whether far answers, if it is to be used. A command ends before
    /// it could tell anybody.
    fn look_at_far(&self, room: Option<Room>) {
        let in_use = self.inner.caches.in_force().far.any();
        if let Some(far) = self.inner.far.as_ref().filter(|_| in_use)
            && room == Some(Room::Pool)
        {
            far.look();
        }
    }

    /// Waits, for a bounded time, for the first look at the log.
    async fn know_the_log(&self, limit: Duration) {
        let long_ago = Moment::now().minus(COMPONENT_DEADLINE);
        self.inner.coherence.wait(0, long_ago, limit).await;
    }

    /// The first answer is the promoted component's. If the origin cannot say yet which one that
    /// is, there is no answer until it can.
    async fn take_promoted(&self) {
        let inner = &self.inner;
        self.know_the_log(COMPONENT_DEADLINE).await;
        if inner.coherence.view().is_some() {
            let components = &inner.components;
            components
                .wait_until_settled(Part::Current, COMPONENT_DEADLINE)
                .await;
        }
    }
}

/// The component of the file, and what the file was when it was read.
async fn file(
    loader: &Arc<Loader>,
    path: &Path,
) -> Result<(Arc<Generation>, Option<Stamp>), StartError> {
    let seen = Stamp::of(path).await;
    let file = match read_signed(path).await {
        Ok((bytes, signature)) => loader.load(&bytes, signature.as_deref()).await,
        Err(source) => {
            return Err(StartError::ComponentFile {
                path: path.to_owned(),
                source,
            });
        }
    };
    let file = file.map_err(|source| match source {
        LoadError::Denied(why) => StartError::Denied(why),
        source => StartError::Component {
            path: path.to_owned(),
            source,
        },
    })?;
    Ok((file, seen))
}

fn loader(
    options: &Options,
    services: Arc<Services>,
    room: Option<Room>,
) -> Result<Arc<Loader>, StartError> {
    let vectors = options.components.vectors.as_deref();
    let vectors = Vectors::load(vectors.filter(|_| room.is_some()))?;
    let cache = options.components.cache.as_deref();
    let engine = room.map(|room| GuestEngine::new(cache, room)).transpose()?;
    Ok(Loader::new(engine, services, &options.components, vectors))
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
                schema: options.schema.clone(),
                deadline: options.origin_deadline,
                feed_deadline: options.feed_deadline,
                connections: usize::try_from(options.origin_connections).unwrap_or(usize::MAX),
                ..PostgresOptions::new(url.reveal())
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
    let backend = RedisFar::connect_believing(authorities, url.reveal(), options.far_deadline)
        .map_err(StartError::Far)?;
    if options.redis_ca.is_some() && !backend.uses_tls() {
        tracing::warn!("ORDAIN_REDIS_CA is set, but REDIS_URL does not use TLS (rediss://)");
    }
    let keys = options.far_keys.iter();
    let keys: Vec<String> = keys.map(|key| key.reveal().to_owned()).collect();
    let far = Far::new(Arc::new(backend), &keys);
    Ok(Some(Arc::new(far)))
}

/// Digest, size, world, imports and exports of a component; runs none of it.
pub fn inspect_component(bytes: &[u8]) -> Result<ComponentInfo, InspectError> {
    Ok(inspect(&*GuestEngine::new(None, Room::OnDemand)?, bytes)?)
}

/// What a push checks of a component, without any database. Returns how many decision vectors it
/// was asked.
pub async fn check_component_file(
    options: &Options,
    bytes: Arc<[u8]>,
    signature: Option<&str>,
) -> Result<(ComponentInfo, usize), CheckError> {
    let services = crate::runtime::services_in_memory(options.clone()).0;
    let loader = loader(options, services, Some(Room::OnDemand))?;
    let generation = loader.load(&bytes, signature).await?;
    Ok((generation.info().clone(), loader.vectors()))
}

/// Why a check could not be made, or what it found.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Component(#[from] LoadError),
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
pub async fn migrate(url: &str, schema: &SchemaName) -> Result<(), StartError> {
    Ok(Postgres::migrate(url, schema).await?)
}
