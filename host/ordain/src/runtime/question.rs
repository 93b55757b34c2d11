//! What a guest is asked: one request, many of one tenant, or what config holds. The same call
//! every time, and what may not come back from it. Not for who is asked.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Func};

use super::convert;
use crate::capabilities::HostState;
use crate::request::Request;
use crate::world::ExportIndices;
use crate::world::Outcome;
use crate::world::bindings::Policy;
use crate::world::bindings::configs::{self, Effective};
use crate::world::bindings::resolver::{self as wit, Decision, Verdict};
use crate::world::bindings::types::Failure;
use ordain_store::ids::ID_LIMIT;

/// Requests of a batch for which there is one tick more: the dearest records take so long.
const REQUESTS_A_TICK: usize = 5;
/// Longest text that a guest may say to people, in bytes.
const MESSAGE_MAX: usize = 16 << 10;

pub trait Question: Sync {
    type Outcome: Send;

    /// Calls an instance of the newest world.
    fn call_newest(
        &self,
        policy: &Policy,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Outcome>;

    /// Calls an instance of an older world.
    fn call_released(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Outcome>;

    /// Calls an instance that may wait.
    fn call_waiting(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Outcome>> + Send;

    /// `None`: the component is of a world that has no such question.
    fn export<'a>(&self, exports: &'a ExportIndices) -> Option<&'a ComponentExportIndex>;

    /// Why this cannot be an answer, if it cannot.
    fn nonsense(&self, outcome: &Self::Outcome) -> Result<(), String>;

    /// The answers one by one, in the order of the requests: whether there is one, or why not.
    fn outcomes<'a>(
        &self,
        outcome: &'a Self::Outcome,
    ) -> impl Iterator<Item = Result<(), &'a Failure>>;

    /// The revision that a request demands.
    fn demand(&self, index: usize) -> u64;

    /// Whether it takes so long, probably, that it is not begun where nobody else has a turn
    /// meanwhile.
    fn is_heavy(&self) -> bool {
        false
    }

    /// Ticks that it may take beyond those of one request.
    fn more_ticks(&self) -> u32 {
        0
    }
}

/// One request.
pub struct One<'a>(pub &'a Request);

/// Requests of one tenant.
pub struct Many<'a>(pub &'a [&'a Request]);

impl One<'_> {
    /// Whether an export has the type of this question.
    pub fn fits(export: &Func, store: &Store<HostState>) -> wasmtime::Result<()> {
        export
            .typed::<(wit::Request<'_>,), (Outcome,)>(store)
            .map(drop)
    }
}

impl Question for One<'_> {
    type Outcome = Outcome;

    fn call_newest(
        &self,
        policy: &Policy,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        let resolver = policy.ordain_policy_resolver();
        resolver.call_resolve(store, convert::request(self.0))
    }

    fn call_released(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        let export = export.typed::<(wit::Request<'_>,), (Outcome,)>(&*store)?;
        Ok(export.call(store, (convert::request(self.0),))?.0)
    }

    async fn call_waiting(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        let export = export.typed::<(wit::Request<'_>,), (Outcome,)>(&*store)?;
        let said = export.call_async(store, (convert::request(self.0),)).await;
        Ok(said?.0)
    }

    fn export<'a>(&self, exports: &'a ExportIndices) -> Option<&'a ComponentExportIndex> {
        exports.resolve.as_ref()
    }

    fn nonsense(&self, outcome: &Outcome) -> Result<(), String> {
        nonsense(outcome)
    }

    fn outcomes<'a>(&self, outcome: &'a Outcome) -> impl Iterator<Item = Result<(), &'a Failure>> {
        std::iter::once(outcome.as_ref().map(|_| ()))
    }

    fn demand(&self, _index: usize) -> u64 {
        self.0.min_revision
    }
}

impl Many<'_> {
    pub fn fits(export: &Func, store: &Store<HostState>) -> wasmtime::Result<()> {
        export
            .typed::<(&[wit::Request<'_>],), (Vec<Outcome>,)>(store)
            .map(drop)
    }

    fn requests(&self) -> Vec<wit::Request<'_>> {
        self.0.iter().map(|r| convert::request(r)).collect()
    }
}

impl Question for Many<'_> {
    type Outcome = Vec<Outcome>;

    fn call_newest(
        &self,
        policy: &Policy,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Vec<Outcome>> {
        let resolver = policy.ordain_policy_resolver();
        resolver.call_resolve_batch(store, &self.requests())
    }

    fn call_released(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Vec<Outcome>> {
        let export = export.typed::<(&[wit::Request<'_>],), (Vec<Outcome>,)>(&*store)?;
        Ok(export.call(store, (&self.requests()[..],))?.0)
    }

    async fn call_waiting(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Vec<Outcome>> {
        let export = export.typed::<(&[wit::Request<'_>],), (Vec<Outcome>,)>(&*store)?;
        let requests = self.requests();
        Ok(export.call_async(store, (&requests[..],)).await?.0)
    }

    fn export<'a>(&self, exports: &'a ExportIndices) -> Option<&'a ComponentExportIndex> {
        exports.resolve_batch.as_ref()
    }

    fn nonsense(&self, outcomes: &Vec<Outcome>) -> Result<(), String> {
        if outcomes.len() != self.0.len() {
            let (said, asked) = (outcomes.len(), self.0.len());
            return Err(format!("{said} answers to {asked} requests"));
        }
        outcomes.iter().try_for_each(nonsense)
    }

    fn outcomes<'a>(
        &self,
        outcomes: &'a Vec<Outcome>,
    ) -> impl Iterator<Item = Result<(), &'a Failure>> {
        outcomes.iter().map(|outcome| outcome.as_ref().map(|_| ()))
    }

    fn demand(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |request| request.min_revision)
    }

    fn more_ticks(&self) -> u32 {
        u32::try_from(self.0.len() / REQUESTS_A_TICK).unwrap_or(u32::MAX)
    }
}

/// What config holds for a user, or for the tenant.
pub struct Config<'a> {
    pub user: Option<&'a str>,
    pub min_revision: u64,
}

type ConfigOutcome = Result<Effective, Failure>;

impl Config<'_> {
    pub fn fits(export: &Func, store: &Store<HostState>) -> wasmtime::Result<()> {
        export
            .typed::<(Option<&str>, u64), (ConfigOutcome,)>(store)
            .map(drop)
    }
}

impl Question for Config<'_> {
    type Outcome = ConfigOutcome;

    fn call_newest(
        &self,
        policy: &Policy,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<ConfigOutcome> {
        let configs = policy.ordain_policy_configs();
        configs.call_get_effective(store, self.user, self.min_revision)
    }

    fn call_released(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<ConfigOutcome> {
        let export = export.typed::<(Option<&str>, u64), (ConfigOutcome,)>(&*store)?;
        Ok(export.call(store, (self.user, self.min_revision))?.0)
    }

    async fn call_waiting(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<ConfigOutcome> {
        let export = export.typed::<(Option<&str>, u64), (ConfigOutcome,)>(&*store)?;
        let said = export.call_async(store, (self.user, self.min_revision));
        Ok(said.await?.0)
    }

    fn export<'a>(&self, exports: &'a ExportIndices) -> Option<&'a ComponentExportIndex> {
        exports.get_effective.as_ref()
    }

    fn nonsense(&self, outcome: &ConfigOutcome) -> Result<(), String> {
        let Ok(Effective { config, .. }) = outcome else {
            return Ok(());
        };
        let configs::Config {
            merge_max_messages,
            path_max_messages,
            path_sliding_window_size,
            compaction_interval_minutes,
            path_compression_threshold: threshold,
            ..
        } = config;
        for (what, count) in [
            ("mergeMaxMessages", merge_max_messages),
            ("pathMaxMessages", path_max_messages),
            ("pathSlidingWindowSize", path_sliding_window_size),
            ("compactionIntervalMinutes", compaction_interval_minutes),
        ] {
            if !(1..1 << 53).contains(count) {
                return Err(format!("it answered {count} as {what}"));
            }
        }
        match (0.0..=1.0).contains(threshold) {
            true => Ok(()),
            false => Err(format!(
                "it answered {threshold} as pathCompressionThreshold"
            )),
        }
    }

    fn outcomes<'a>(
        &self,
        outcome: &'a ConfigOutcome,
    ) -> impl Iterator<Item = Result<(), &'a Failure>> {
        std::iter::once(outcome.as_ref().map(|_| ()))
    }

    fn demand(&self, _index: usize) -> u64 {
        self.min_revision
    }
}

/// What no rule can produce, from whichever record: it would end up in logs, headers and bills.
fn nonsense(outcome: &Outcome) -> Result<(), String> {
    let Ok(Decision { verdict, .. }) = outcome else {
        return Ok(());
    };
    match verdict {
        Verdict::Allow(route) => {
            for (what, id) in [("provider", &route.provider), ("model", &route.model)] {
                if !is_id(id) {
                    let size = id.len();
                    return Err(format!(
                        "it answered a {what} of {size} bytes that is no id: 1 to {ID_LIMIT} \
                         characters without control characters"
                    ));
                }
            }
            if let Some(temperature) = &route.temperature
                && !(0.0..=2.0).contains(&temperature.value)
            {
                return Err(format!(
                    "it answered a temperature of {}",
                    temperature.value
                ));
            }
            if let Some(max_tokens) = &route.max_tokens
                && !(1..1 << 53).contains(&max_tokens.value)
            {
                return Err(format!("it answered {} as maxTokens", max_tokens.value));
            }
            Ok(())
        }
        Verdict::Refuse(refusal) if refusal.message.len() > MESSAGE_MAX => Err(format!(
            "it answered a message of {} bytes",
            refusal.message.len()
        )),
        Verdict::Refuse(_) => Ok(()),
    }
}

/// As records have them (DESIGN 7.1); plain ASCII, the rule, is settled without decoding.
fn is_id(id: &str) -> bool {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte);
    match id.len() {
        0 => false,
        ..=ID_LIMIT if id.bytes().all(plain) => true,
        _ => ordain_store::ids::is_id(id),
    }
}
