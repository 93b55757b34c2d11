//! Instances of contenders that are libraries: Ordain's and the predecessor's. Each runs on threads
//! of its own, as if in a process of its own, and is asked in process: no peer has a server to ask.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ordain::Ordain;
use ordain::request::Request;
use ordain_store::ids::Tenant;
use serde_json::json;
use tokio::runtime::{Handle, Runtime};

use crate::decision;

/// What the workloads ask of an instance.
pub trait Instance: Send + Sync + 'static {
    /// Stores this version of the tenant's record; returns when that is acknowledged.
    fn write(&self, tenant: &str, version: u64) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// The version that an answer reflects now; `None`: the tenant has no record.
    fn read(&self, tenant: &str) -> impl Future<Output = anyhow::Result<Option<u64>>> + Send;
}

/// A record that says its version by its default model.
pub fn record(version: u64) -> String {
    let mut policy = decision::policy();
    policy["defaultModel"] = json!(format!("model-{version}"));
    if let Some(members) = policy.as_object_mut() {
        members.remove("allowedModels");
    }
    policy.to_string()
}

/// The version that a default model says.
pub fn version(model: &str) -> anyhow::Result<u64> {
    let digits = model.strip_prefix("model-").context("a model of ours")?;
    Ok(digits.parse()?)
}

/// An instance and its threads.
pub struct Host<I> {
    instance: Arc<I>,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl<I: Instance> Host<I> {
    pub async fn start(
        start: impl Future<Output = anyhow::Result<I>> + Send + 'static,
    ) -> anyhow::Result<Host<I>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let started = runtime.spawn(start).await;
        match started.map_err(anyhow::Error::from).flatten() {
            Ok(instance) => Ok(Host {
                instance: Arc::new(instance),
                handle,
                runtime: Some(runtime),
            }),
            Err(error) => {
                // It must not be waited for here.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Runs work of this instance on its threads.
    pub fn spawn<T, F>(&self, work: impl FnOnce(Arc<I>) -> F) -> tokio::task::JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.handle.spawn(work(self.instance.clone()))
    }
}

impl<I> Drop for Host<I> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: calls to a hung server may still be under way.
            runtime.shutdown_background();
        }
    }
}

/// Ordain as a library.
pub struct Library(Ordain);

impl Library {
    pub async fn start(postgres: String, redis: String) -> anyhow::Result<Library> {
        let ordain = Ordain::builder().postgres(postgres).redis(redis);
        Ok(Library(ordain.start().await?))
    }
}

impl Instance for Library {
    async fn write(&self, tenant: &str, version: u64) -> anyhow::Result<()> {
        let (tenant, record) = (Tenant::new(tenant)?, record(version));
        self.0
            .put_policy(&tenant, &record, Default::default(), &Default::default())
            .await?;
        Ok(())
    }

    async fn read(&self, tenant: &str) -> anyhow::Result<Option<u64>> {
        let answer = self
            .0
            .resolve(&Tenant::new(tenant)?, &Request::default())
            .await?;
        match answer.route() {
            Some(route) => Ok(Some(version(&route.model)?)),
            None if answer.provenance.revision.is_none() => Ok(None),
            None => bail!("refused: {answer:?}"),
        }
    }
}
