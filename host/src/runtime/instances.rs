//! Instances of one generation: warm ones are reused, one call at a time, until they trap, overrun
//! or have served long enough. Prompt instances answer near hits without any async machinery;
//! waiting ones may wait for servers.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use super::bindings::{Policy, PolicyPre};
use super::engine::MEMORY_MAX;
use crate::capabilities::{Call, HostState, Services};

/// Calls of one instance, after which its memory starts afresh.
const CALLS_MAX: u32 = 1_000_000;
/// Idle instances that are kept.
const IDLE_MAX: usize = 64;

pub struct Warm<T> {
    pub store: Store<HostState>,
    pub exports: T,
    calls: u32,
}

/// Exports of a waiting instance, looked up once.
pub struct Waiting {
    pub instance: Instance,
}

/// Where the exports of the resolver are.
pub struct ExportIndices {
    pub resolve: ComponentExportIndex,
    pub resolve_batch: ComponentExportIndex,
}

pub struct Instances {
    engine: Engine,
    services: Arc<Services>,
    digest: Arc<str>,
    prompt_pre: PolicyPre<HostState>,
    waiting_pre: InstancePre<HostState>,
    prompt: ArrayQueue<Warm<Policy>>,
    waiting: ArrayQueue<Warm<Waiting>>,
}

impl Instances {
    pub fn new(
        engine: &Engine,
        services: Arc<Services>,
        digest: Arc<str>,
        prompt_pre: PolicyPre<HostState>,
        waiting_pre: InstancePre<HostState>,
    ) -> Instances {
        Instances {
            engine: engine.clone(),
            services,
            digest,
            prompt_pre,
            waiting_pre,
            prompt: ArrayQueue::new(IDLE_MAX),
            waiting: ArrayQueue::new(IDLE_MAX),
        }
    }

    /// A prompt instance, bound to the call.
    pub fn prompt(&self, call: &Call) -> wasmtime::Result<Warm<Policy>> {
        let mut warm = match current(&self.prompt) {
            Some(warm) => warm,
            None => {
                let mut store = self.store();
                store.set_epoch_deadline(1);
                let exports = self.prompt_pre.instantiate(&mut store)?;
                Warm {
                    store,
                    exports,
                    calls: 0,
                }
            }
        };
        warm.begin(call);
        Ok(warm)
    }

    /// An instance that may wait, bound to the call.
    pub async fn waiting(&self, call: &Call) -> wasmtime::Result<Warm<Waiting>> {
        let mut warm = match current(&self.waiting) {
            Some(warm) => warm,
            None => {
                let mut store = self.store();
                store.set_epoch_deadline(1);
                let instance = self.waiting_pre.instantiate_async(&mut store).await?;
                Warm {
                    store,
                    exports: Waiting { instance },
                    calls: 0,
                }
            }
        };
        warm.begin(call);
        Ok(warm)
    }

    /// Takes back an instance whose call ended well. One that trapped is dropped instead: its
    /// store must never be entered again.
    pub fn keep_prompt(&self, mut warm: Warm<Policy>) {
        if warm.end() {
            let _ = self.prompt.push(warm);
        }
    }

    pub fn keep_waiting(&self, mut warm: Warm<Waiting>) {
        if warm.end() {
            let _ = self.waiting.push(warm);
        }
    }

    fn store(&self) -> Store<HostState> {
        let state = HostState::new(self.services.clone(), self.digest.clone(), MEMORY_MAX);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_callback(|mut context: StoreContextMut<'_, HostState>| {
            if context.data_mut().tick() {
                Ok(UpdateDeadline::Continue(1))
            } else {
                Err(wasmtime::Error::msg("the component computed for too long"))
            }
        });
        store
    }
}

/// An idle instance that was made under what is in force; others are retired (rule D1).
fn current<T>(idle: &ArrayQueue<Warm<T>>) -> Option<Warm<T>> {
    std::iter::from_fn(|| idle.pop()).find(|warm| warm.store.data().is_current())
}

impl<T> Warm<T> {
    fn begin(&mut self, call: &Call) {
        self.store.data_mut().begin(call);
        self.store.set_epoch_deadline(1);
    }

    fn end(&mut self) -> bool {
        self.store.data_mut().end();
        self.calls += 1;
        self.calls < CALLS_MAX
    }
}
