//! One running Ordain: what it is made of, and who pays for what is asked of it. Below all that it
//! does: reading (`read`), writing (`write`), policies, configs, components. Not for starting one
//! (`start`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::components::Components;
use super::locks::Locks;
use crate::options::Options;
use crate::runtime::{ComponentInfo, Runtime};
use ordain_coherence::Coherence;
use ordain_coherence::auditor::Findings;
use ordain_coherence::caches::Caches;
use ordain_coherence::far::Far;
use ordain_coherence::origin::OriginReader;
use ordain_coherence::places::{Direct, Places};
use ordain_coherence::shares::{Charge, Shares, Whose};
use ordain_store::Origin;
use ordain_store::ids::Key;
use ordain_store::supervise::Tasks;

/// One running Ordain: a component, its backends and its caches. Cheap to clone; stops when the
/// last clone is dropped.
///
/// ```
/// use ordain::{Ordain, ids::Tenant, request::Request};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Without `.postgres(url)` policies are kept in memory: for development and tests.
/// let ordain = Ordain::builder()
///     .component("../../target/debug/ordain-policy.wasm")
///     .start()
///     .await?;
/// let acme = Tenant::new("acme")?;
/// let policy = r#"{
///     "defaultProvider": "openai",
///     "defaultModel": "gpt-4o",
///     "tasks": [{"task": "chat", "provider": "local", "model": "llama-3-8b", "temperature": 0.3}]
/// }"#;
/// ordain.put_policy(&acme, policy, Default::default(), &Default::default()).await?;
///
/// let request = Request { task: Some("chat".into()), ..Request::default() };
/// let answer = ordain.resolve(&acme, &request).await?;
/// let route = answer.route().expect("allowed");
/// assert_eq!((&*route.provider, &*route.model), ("local", "llama-3-8b"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ordain {
    pub(super) inner: Arc<Inner>,
    /// Who pays for what is asked of it.
    pub(super) charge: Charge,
}

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) runtime: Arc<Runtime>,
    pub(super) components: Arc<Components>,
    pub(super) coherence: Arc<Coherence>,
    pub(super) origin: Arc<dyn Origin>,
    pub(super) reader: Arc<OriginReader>,
    pub(super) far: Option<Arc<Far>>,
    pub(super) caches: Arc<Caches>,
    /// Of those who change a record by what it says.
    pub(super) deciding: Locks,
    pub(super) direct: Direct,
    /// Turns of tenants whose batches are resolved.
    pub(super) batches: Shares,
    /// Values put into far again (rule A5).
    pub(super) restamps: Arc<AtomicU64>,
    /// What the auditor found.
    pub(super) findings: Arc<Findings>,
    /// What becomes of the tasks.
    pub(super) supervised: Arc<Tasks>,
    /// The feed and what else works in the background; aborted when the last clone goes.
    pub(super) tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Ordain {
    /// The same at the expense of somebody else: what is short has places for each.
    pub fn charged_to(&self, charge: Charge) -> Ordain {
        Ordain {
            inner: self.inner.clone(),
            charge,
        }
    }

    /// How long a call may wait for a place: what is left of the request is the origin's.
    pub(super) fn patience(&self) -> Duration {
        let options = &self.inner.options;
        let left = options.request_deadline;
        let left = left.saturating_sub(options.origin_deadline);
        left.max(options.request_deadline / 5)
    }

    /// Places of each kind, as operators measure them.
    pub fn places(&self) -> Vec<&Places> {
        let cold = [&self.inner.runtime.waiting, &self.inner.reader.places];
        cold.into_iter().chain(self.inner.direct.all()).collect()
    }

    /// What runs.
    pub fn component(&self) -> ComponentInfo {
        self.inner.runtime.lineup().current.info().clone()
    }

    /// What this was started with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Stops following the log; calls under way end.
    pub async fn close(&self) {
        let tasks = self.inner.tasks.iter();
        tasks.for_each(tokio::task::JoinHandle::abort);
    }
}

/// Whose share work on a record is part of.
pub(super) fn whose(key: &Key) -> Whose {
    key.tenant.as_ref().map_or(Whose::Operator, Whose::from)
}
