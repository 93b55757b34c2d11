//! A deployment in memory for one component: its own origin, log, feed and near cache. What is
//! asked there touches nothing else. Not for what is asked (`vectors`).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::engine::GuestEngine;
use super::generation::Generation;
use super::runtime::Runtime;
use crate::calls::{Checked, Compared, InvalidRecord};
use crate::capabilities::Services;
use crate::options::Options;
use crate::request::EgressMode;
use crate::world::Export;
use ordain_coherence::caches::Caches;
use ordain_coherence::feed::Feed;
use ordain_coherence::origin::OriginReader;
use ordain_coherence::places::Places;
use ordain_coherence::shares::Whose;
use ordain_coherence::{Coherence, Moment};
use ordain_store::ids::{Key, Level, Tenant};
use ordain_store::memory::MemoryOrigin;
use ordain_store::{Attribution, Change, Origin, Precondition};

/// For the feed to read a log in memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a component is told of the deployment.
#[derive(Deserialize, Clone, Default, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    pub egress_mode: Option<EgressMode>,
    pub local_providers: Option<Vec<String>>,
    pub default_provider: Option<String>,
    pub default_model: Option<String>,
}

impl Settings {
    /// Services of a sandbox are those of a deployment with these settings.
    fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            base_egress: self.egress_mode.unwrap_or(defaults.base_egress),
            local_providers: self
                .local_providers
                .clone()
                .unwrap_or(defaults.local_providers.clone()),
            deployment_default: self
                .default_provider
                .clone()
                .zip(self.default_model.clone()),
            near_bytes: 4 << 20,
            window: 1000,
            request_deadline: Duration::from_secs(5),
            ..defaults
        }
    }
}

pub struct Sandbox {
    pub runtime: Runtime,
    origin: Arc<MemoryOrigin>,
    feed: JoinHandle<()>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// Services of a deployment in memory, and its origin.
pub fn services_in_memory(options: Options) -> (Arc<Services>, Arc<MemoryOrigin>) {
    let origin = Arc::new(MemoryOrigin::new());
    let coherence = Arc::new(Coherence::new(options.near_bytes, options.window as usize));
    let services = Services {
        origin: Arc::new(OriginReader::new(
            origin.clone(),
            coherence.clone(),
            Places::reads(1),
        )),
        coherence,
        far: None,
        caches: Arc::new(Caches::new(&options)),
        options,
        late_fills: Arc::new(Semaphore::new(1)),
    };
    (Arc::new(services), origin)
}

impl Sandbox {
    pub async fn start(
        engine: &GuestEngine,
        generation: &Generation,
        settings: &Settings,
    ) -> Sandbox {
        let (services, origin) = services_in_memory(settings.options());
        let coherence = services.coherence.clone();
        let feed = Feed::new(
            coherence.clone(),
            origin.clone(),
            services.origin.clone(),
            services.caches.clone(),
        );
        let feed = tokio::spawn(Arc::new(feed).run(0));
        coherence.wait(0, Moment::now(), PATIENCE).await;
        let deadline = services.options.request_deadline;
        let generation = generation.beside(engine, services);
        Sandbox {
            runtime: Runtime::new(Arc::new(generation), deadline),
            origin,
            feed,
        }
    }

    pub fn offers(&self, export: Export) -> bool {
        self.runtime.lineup().current.offers(export)
    }

    pub async fn check<Q: Compared<Reply = Checked>>(
        &self,
        check: Q,
    ) -> Result<String, InvalidRecord> {
        self.runtime.check(Whose::Operator, check).await
    }

    /// Stores a policy that the component has found valid.
    pub async fn put(&self, tenant: &Tenant, canonical: String) -> Result<(), String> {
        self.write(&Key::policy(tenant), canonical).await.map(drop)
    }

    /// Stores a level of config that the component has found valid. Its revision.
    pub async fn put_level(&self, level: &Level, canonical: String) -> Result<u64, String> {
        self.write(&Key::config(level), canonical).await
    }

    async fn write(&self, key: &Key, canonical: String) -> Result<u64, String> {
        let by = Attribution::default();
        let change = Change::Put(canonical.into());
        match self
            .origin
            .write(key, change, Precondition::None, &by)
            .await
        {
            Ok(written) => Ok(written.revision),
            Err(error) => Err(format!("the canonical record cannot be stored: {error}")),
        }
    }
}
