//! A generation: one component, compiled, checked against the world, and its instances. Calls
//! return what the guest said; a trap or an overrun is an error and costs the instance.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::{Component, Instance};

use super::bindings::PolicyPre;
use super::bindings::resolver as wit;
use super::bindings::resolver::{Decision, Failure, Invalid};
use super::convert;
use super::engine::GuestEngine;
use super::instances::{ExportIndices, Instances};
use crate::answer::ResolveError;
use crate::capabilities::{Call, HostState, Services};
use crate::ordain::{ComponentInfo, InvalidRecord};
use crate::request::Request;

const RESOLVER: &str = "ordain:policy/resolver@0.1.0";
const WORLD: &str = "ordain:policy/policy@0.1.0";

/// What the guest says about one request.
pub type Outcome = Result<Decision, Failure>;

/// What the guest said, and the digest of the settings that it went by.
pub struct Said<T> {
    pub outcome: T,
    pub settings: Arc<str>,
    /// These settings are still in force.
    pub current: bool,
}

/// Why bytes cannot become a generation.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not a WebAssembly component: it does not begin like one")]
    Foreign,
    #[error("not a WebAssembly component: {0:#}")]
    Compile(wasmtime::Error),
    #[error("the component does not fit the world {WORLD}: {0:#}")]
    World(wasmtime::Error),
}

pub struct Generation {
    info: ComponentInfo,
    digest: Arc<str>,
    exports: ExportIndices,
    instances: Instances,
}

/// Digest, imports and exports of a component file.
pub fn inspect(engine: &GuestEngine, bytes: &[u8]) -> Result<ComponentInfo, LoadError> {
    Ok(compile(engine, bytes)?.1)
}

fn compile(engine: &GuestEngine, bytes: &[u8]) -> Result<(Component, ComponentInfo), LoadError> {
    // What the parser says of other files is a dump of what it expected.
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::Foreign);
    }
    let component = Component::new(&engine.engine, bytes).map_err(LoadError::Compile)?;
    let ty = component.component_type();
    let mut imports: Vec<String> = ty
        .imports(&engine.engine)
        .map(|(name, _)| name.to_string())
        .collect();
    let mut exports: Vec<String> = ty
        .exports(&engine.engine)
        .map(|(name, _)| name.to_string())
        .collect();
    imports.sort();
    exports.sort();
    // The resolver's version is the world's: all interfaces are of one package.
    let version = exports
        .iter()
        .find_map(|name| name.strip_prefix("ordain:policy/resolver@"));
    let world = version.map_or("unknown".into(), |v| format!("ordain:policy/policy@{v}"));
    let digest = format!("sha256:{:x}", Sha256::digest(bytes));
    let info = ComponentInfo {
        digest,
        size: bytes.len() as u64,
        world,
        imports,
        exports,
    };
    Ok((component, info))
}

impl Generation {
    /// Compiles and checks; takes a tenth of a second of both cores, so not on a request's thread.
    pub fn load(
        engine: &GuestEngine,
        bytes: &[u8],
        services: Arc<Services>,
    ) -> Result<Generation, LoadError> {
        let (component, info) = compile(engine, bytes)?;
        let index = |name: &str| {
            let resolver = component.get_export_index(None, RESOLVER);
            resolver
                .and_then(|resolver| component.get_export_index(Some(&resolver), name))
                .ok_or_else(|| {
                    LoadError::World(wasmtime::Error::msg(format!("no export {RESOLVER}#{name}")))
                })
        };
        let exports = ExportIndices {
            resolve: index("resolve")?,
            resolve_batch: index("resolve-batch")?,
        };
        let digest: Arc<str> = info.digest.as_str().into();
        let waiting = engine
            .waiting
            .instantiate_pre(&component)
            .map_err(LoadError::World)?;
        let prompt = engine
            .prompt
            .instantiate_pre(&component)
            .map_err(LoadError::World)?;
        let prompt = PolicyPre::new(prompt).map_err(LoadError::World)?;
        let instances = Instances::new(&engine.engine, services, digest.clone(), prompt, waiting);
        Ok(Generation {
            info,
            digest,
            exports,
            instances,
        })
    }

    pub fn info(&self) -> &ComponentInfo {
        &self.info
    }

    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// `None`: the guest wanted to wait for a server.
    pub(super) fn resolve_promptly(
        &self,
        call: &Call,
        request: &Request,
    ) -> Result<Option<Said<Outcome>>, ResolveError> {
        let mut warm = self.instances.prompt(call).map_err(trap)?;
        let resolver = warm.exports.ordain_policy_resolver();
        let outcome = resolver
            .call_resolve(&mut warm.store, convert::request(request))
            .map_err(trap)?;
        let state = warm.store.data();
        let said = (!state.wanted_io).then(|| said(outcome, state));
        self.instances.keep_prompt(warm);
        Ok(said)
    }

    pub(super) fn resolve_batch_promptly(
        &self,
        call: &Call,
        requests: &[&Request],
    ) -> Result<Option<Said<Vec<Outcome>>>, ResolveError> {
        let mut warm = self.instances.prompt(call).map_err(trap)?;
        let resolver = warm.exports.ordain_policy_resolver();
        let requests: Vec<_> = requests.iter().map(|r| convert::request(r)).collect();
        let outcomes = resolver
            .call_resolve_batch(&mut warm.store, &requests)
            .map_err(trap)?;
        let outcomes = complete(outcomes, requests.len())?;
        let state = warm.store.data();
        let said = (!state.wanted_io).then(|| said(outcomes, state));
        self.instances.keep_prompt(warm);
        Ok(said)
    }

    pub(super) async fn resolve_waiting(
        &self,
        call: &Call,
        request: &Request,
    ) -> Result<Said<Outcome>, ResolveError> {
        let mut warm = self.instances.waiting(call).await.map_err(trap)?;
        let resolve = func(
            &mut warm.store,
            &warm.exports.instance,
            &self.exports.resolve,
        )?;
        let resolve = resolve
            .typed::<(wit::Request<'_>,), (Outcome,)>(&warm.store)
            .map_err(trap)?;
        let (outcome,) = resolve
            .call_async(&mut warm.store, (convert::request(request),))
            .await
            .map_err(trap)?;
        let said = said(outcome, warm.store.data());
        self.instances.keep_waiting(warm);
        Ok(said)
    }

    pub(super) async fn resolve_batch_waiting(
        &self,
        call: &Call,
        requests: &[&Request],
    ) -> Result<Said<Vec<Outcome>>, ResolveError> {
        let mut warm = self.instances.waiting(call).await.map_err(trap)?;
        let resolve = func(
            &mut warm.store,
            &warm.exports.instance,
            &self.exports.resolve_batch,
        )?;
        let resolve = resolve
            .typed::<(&[wit::Request<'_>],), (Vec<Outcome>,)>(&warm.store)
            .map_err(trap)?;
        let requests: Vec<_> = requests.iter().map(|r| convert::request(r)).collect();
        let (outcomes,) = resolve
            .call_async(&mut warm.store, (&requests[..],))
            .await
            .map_err(trap)?;
        let outcomes = complete(outcomes, requests.len())?;
        let said = said(outcomes, warm.store.data());
        self.instances.keep_waiting(warm);
        Ok(said)
    }

    pub(super) fn validate(&self, call: &Call, record: &str) -> Result<String, InvalidRecord> {
        let failed = |error: wasmtime::Error| InvalidRecord::Component(report(&error));
        let mut warm = self.instances.prompt(call).map_err(failed)?;
        let resolver = warm.exports.ordain_policy_resolver();
        let outcome = resolver
            .call_validate(&mut warm.store, record)
            .map_err(failed)?;
        self.instances.keep_prompt(warm);
        outcome.map_err(|invalid| match invalid {
            Invalid::Malformed(message) => InvalidRecord::Malformed(message),
            Invalid::Faults(faults) => InvalidRecord::Faults(convert::faults(faults)),
        })
    }
}

fn func(
    store: &mut Store<HostState>,
    instance: &Instance,
    index: &wasmtime::component::ComponentExportIndex,
) -> Result<wasmtime::component::Func, ResolveError> {
    instance
        .get_func(store, index)
        .ok_or_else(|| ResolveError::Component("an export has vanished".into()))
}

fn said<T>(outcome: T, state: &HostState) -> Said<T> {
    Said {
        outcome,
        settings: state.settings_digest().clone(),
        current: state.is_current(),
    }
}

/// A component that answers another number of requests than it was asked has failed.
fn complete(outcomes: Vec<Outcome>, asked: usize) -> Result<Vec<Outcome>, ResolveError> {
    if outcomes.len() == asked {
        Ok(outcomes)
    } else {
        let message = format!("{} answers to {asked} requests", outcomes.len());
        tracing::error!(message, "the component failed");
        Err(ResolveError::Component(message))
    }
}

fn trap(error: wasmtime::Error) -> ResolveError {
    ResolveError::Component(report(&error))
}

fn report(error: &wasmtime::Error) -> String {
    let message = format!("{error:#}");
    tracing::error!(message, "the component failed");
    message
}
