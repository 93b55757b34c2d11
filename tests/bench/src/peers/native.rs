//! The same rules and reading order (the guest's crate) compiled natively, over the same near map
//! kept valid by the same feed.
//!
//! Equal: the clock's reading, watermark and proof, the look-up in near, the copy confirmed by its
//! fill number, routing and egress, and an owned decision. Less: no WebAssembly, no border to
//! cross, and the host's echo of the request in its answer is not made.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use guest::ports::{
    LookedUp, Ports, Present, Settings, Severity, State, Subject, Unavailable, View,
};
use guest::resolve::{Instance, resolve};
use guest::words::{self, Decision, EgressMode, Failure, Tier, Verdict};
use ordain::options::Options;
use ordain::request::Request;
use ordain_coherence::caches::Caches;
use ordain_coherence::feed::Feed;
use ordain_coherence::origin::OriginReader;
use ordain_coherence::places::Places;
use ordain_coherence::{Coherence, Entry, Moment};
use ordain_store::ids::Key;
use ordain_store::memory::MemoryOrigin;
use ordain_store::{Attribution, Change, Origin, Precondition};

use crate::decision;

pub struct Native {
    instance: Instance,
    host: Host,
    feed: tokio::task::JoinHandle<()>,
}

struct Host {
    coherence: Arc<Coherence>,
    tenant: ordain_store::ids::Tenant,
    settings: Settings,
    began: Moment,
    held: Option<Arc<Entry>>,
}

impl Drop for Native {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

impl Native {
    /// Stores the record in an origin of its own and fills near with it.
    pub async fn start(record: &str) -> anyhow::Result<Native> {
        let tenant = decision::tenant();
        let origin = Arc::new(MemoryOrigin::new());
        let coherence = Arc::new(Coherence::new(64 << 20, 1000));
        let feed = Feed::new(
            coherence.clone(),
            origin.clone(),
            Arc::new(OriginReader::new(
                origin.clone(),
                coherence.clone(),
                Places::reads(16),
            )),
            Arc::new(Caches::new(&Options::default())),
        );
        let feed = tokio::spawn(Arc::new(feed).run(0));
        let by = Attribution::default();
        let put = Change::Put(record.into());
        let written = origin
            .write(&Key::policy(&tenant), put, Precondition::None, &by)
            .await?;
        let key = Key::policy(&tenant);
        let snapshot = origin.read(std::slice::from_ref(&key)).await?;
        coherence
            .wait(written.revision, Moment::now(), Duration::from_secs(5))
            .await;
        let record = snapshot.records.first().and_then(Option::as_ref);
        coherence
            .fill(&key, record, snapshot.as_of)
            .context("near takes the record")?;
        let settings = Settings {
            base_egress: EgressMode::Enforce,
            local_providers: vec!["local".into()],
            deployment_default: None,
            bound_ms: 1000,
            stale_limit_ms: 900_000,
            min_revision_wait_ms: 100,
            far_ttl_ms: 300_000,
        };
        let host = Host {
            coherence,
            tenant,
            settings,
            began: Moment::now(),
            held: None,
        };
        Ok(Native {
            instance: Instance::default(),
            host,
            feed,
        })
    }

    pub fn resolve(&mut self, request: &Request) -> Result<Decision, Failure> {
        self.host.began = Moment::now();
        // The guest owns its request, on both sides of the comparison.
        let request = words::Request {
            user: request.user.clone(),
            task: request.task.clone(),
            model: request.model.clone(),
            temperature: request.temperature,
            max_tokens: request.max_tokens,
            egress_mode: None,
            min_revision: request.min_revision,
        };
        resolve(&mut self.instance, &mut self.host, &request)
    }

    /// The route, to see that it is the expected one.
    pub fn route(
        &mut self,
        request: &Request,
    ) -> anyhow::Result<Option<(&'static str, &'static str)>> {
        match self
            .resolve(request)
            .map_err(|failure| anyhow!("{failure:?}"))?
            .verdict
        {
            Verdict::Refuse(_) => Ok(None),
            Verdict::Allow(route) => {
                let expected = decision::ALLOWED_ROUTE;
                let found = (&*route.provider, &*route.model);
                anyhow::ensure!(found == expected, "{found:?}");
                Ok(Some(expected))
            }
        }
    }
}

impl Ports for Host {
    fn settings(&mut self) -> Settings {
        self.settings.clone()
    }

    fn remaining_ms(&mut self) -> u32 {
        1000
    }

    fn log(&mut self, _: Severity, message: &str) {
        eprintln!("native: {message}");
    }

    fn near(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        let Some(view) = self.coherence.view() else {
            return LookedUp::Unavailable(Unavailable::NotReady);
        };
        let name = subjects.first().map_or("", |subject| subject.name);
        self.held = self.coherence.near.get(Some(self.tenant.as_str()), name);
        let age = self.began.since(view.proven);
        let age_ms = u32::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        LookedUp::View(View {
            position: view.watermark,
            age_ms,
            tier: Tier::Near,
        })
    }

    // The policy is in near: nothing beyond it is ever asked for.
    fn far(&mut self, _: &[Subject<'_>]) -> LookedUp {
        LookedUp::Unavailable(Unavailable::Off)
    }

    fn origin(&mut self, _: &[Subject<'_>], _: u64) -> LookedUp {
        LookedUp::Unavailable(Unavailable::Off)
    }

    fn catch_up(&mut self, _: u64, _: u32) -> LookedUp {
        LookedUp::Unavailable(Unavailable::Off)
    }

    fn entry(&mut self, _: u32) -> State {
        let Some(entry) = &self.held else {
            return State::Missing;
        };
        match &entry.record {
            None => State::Absent,
            Some(record) => State::Present(Present {
                fill: entry.fill,
                revision: record.revision,
            }),
        }
    }

    fn text(&mut self, _: u32) -> String {
        let record = self.held.as_ref().and_then(|entry| entry.record.as_ref());
        record.map_or_else(String::new, |record| record.body.to_string())
    }

    fn derived(&mut self, _: u32) -> Vec<u8> {
        Vec::new()
    }

    fn attach(&mut self, _: u32, _: &[u8]) {}

    fn keep(&mut self, _: u32, _: u32) -> u64 {
        self.held.as_ref().map_or(0, |entry| entry.fill)
    }
}
