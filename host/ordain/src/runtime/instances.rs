//! Instances of one generation. Warm ones are reused, one call at a time, until they trap, overrun
//! or have served long enough; fresh ones serve one call. Prompt instances answer near hits without
//! any async machinery; waiting ones may wait for servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use super::engine::MEMORY_MAX;
use super::idle::Idle;
use crate::calls::Exports;
use crate::capabilities::{Call, HostState, Limit, Services, Tick};
use crate::options::InstanceMode;
use crate::world::bindings::policy;

/// Calls of one instance, after which its memory starts afresh.
const CALLS_MAX: u32 = 1_000_000;
/// Bytes that may pass from the guest to the host in one crossing of the border: answers of a batch
/// of 1,000, or a canonical record, many times over.
const TRANSFER_MAX: usize = 8 << 20;

pub struct Warm<T> {
    pub store: Store<HostState>,
    pub exports: T,
    calls: u32,
}

/// How instances are made.
#[derive(Clone)]
pub struct Pre {
    pub prompt: InstancePre<HostState>,
    pub waiting: InstancePre<HostState>,
    /// Where the newest version of a policy is, if the component has that.
    pub policy: Option<Arc<policy::GuestIndices>>,
}

/// Why there is no instance of a component that is not there.
pub fn absent() -> wasmtime::Error {
    wasmtime::Error::msg("this process was started without rules")
}

pub struct Instances {
    engine: Option<Engine>,
    services: Arc<Services>,
    digest: Arc<str>,
    /// `None`: there is no component.
    pre: Option<Pre>,
    prompt: Idle<Warm<Exports>>,
    waiting: Idle<Warm<Instance>>,
    /// It is not asked any more: what comes back from its last calls goes.
    retired: AtomicBool,
}

impl Instances {
    pub fn new(
        engine: Option<&Engine>,
        services: Arc<Services>,
        digest: Arc<str>,
        pre: Option<Pre>,
    ) -> Instances {
        Instances {
            engine: engine.cloned(),
            services,
            digest,
            pre,
            prompt: Idle::default(),
            waiting: Idle::default(),
            retired: AtomicBool::new(false),
        }
    }

    /// A prompt instance, bound to the call.
    pub fn prompt(&self, call: &Call) -> wasmtime::Result<Warm<Exports>> {
        let mut warm = match current(&self.prompt) {
            Some(warm) => warm,
            None => {
                let mut store = self.store(|_| Ok(UpdateDeadline::Continue(1)))?;
                let pre = self.pre.as_ref().ok_or_else(absent)?;
                let instance = pre.prompt.instantiate(&mut store)?;
                let policy = pre.policy.as_ref();
                let policy = policy.map(|indices| indices.load(&mut store, &instance));
                let policy = policy.transpose()?;
                Warm::new(store, Exports { instance, policy })
            }
        };
        warm.begin(call, call.prompt_ticks);
        Ok(warm)
    }

    /// An instance that may wait, bound to the call.
    pub async fn waiting(&self, call: &Call) -> wasmtime::Result<Warm<Instance>> {
        let mut warm = match current(&self.waiting) {
            Some(warm) => warm,
            None => {
                // Between its ticks others have their turn.
                let mut store = self.store(|state| {
                    let turn = state.turn()?;
                    Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn)))
                })?;
                let pre = self.pre.as_ref().ok_or_else(absent)?;
                let instance = pre.waiting.instantiate_async(&mut store).await?;
                Warm::new(store, instance)
            }
        };
        warm.begin(call, call.ticks);
        Ok(warm)
    }

    /// Takes back an instance whose call ended well. One that trapped is dropped instead: its
    /// store must never be entered again.
    pub fn keep_prompt(&self, mut warm: Warm<Exports>) {
        if warm.end() && self.keeps() {
            self.prompt.push(warm);
        }
    }

    pub fn keep_waiting(&self, mut warm: Warm<Instance>) {
        if warm.end() && self.keeps() {
            self.waiting.push(warm);
        }
    }

    /// A bare instance, to be looked at.
    pub fn bare(&self) -> wasmtime::Result<(Store<HostState>, Instance)> {
        let mut store = self.store(|_| Ok(UpdateDeadline::Continue(1)))?;
        let pre = self.pre.as_ref().ok_or_else(absent)?;
        let instance = pre.prompt.instantiate(&mut store)?;
        Ok((store, instance))
    }

    /// Drops the idle ones, of a generation that is not asked any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        while self.prompt.pop().is_some() || self.waiting.pop().is_some() {}
    }

    /// It is asked again.
    pub fn enlist(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    fn keeps(&self) -> bool {
        self.services.options.instances == InstanceMode::Warm
            && !self.retired.load(Ordering::Relaxed)
    }

    /// `go_on`: what follows a tick of the engine that the guest may compute through.
    fn store(
        &self,
        go_on: fn(&HostState) -> Result<UpdateDeadline, Limit>,
    ) -> wasmtime::Result<Store<HostState>> {
        let engine = self.engine.as_ref().ok_or_else(absent)?;
        // A copy of the digest for each: answers count its owners, and threads would meet there.
        let digest = Arc::from(&*self.digest);
        let state = HostState::new(self.services.clone(), digest, MEMORY_MAX);
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(TRANSFER_MAX);
        store.epoch_deadline_callback(move |mut context: StoreContextMut<'_, HostState>| {
            let goes_on = match context.data_mut().tick() {
                Tick::Waited => Ok(UpdateDeadline::Continue(1)),
                Tick::Computed => go_on(context.data()),
                Tick::OneTooMany => Err(Limit::Time),
            };
            goes_on.map_err(wasmtime::Error::new)
        });
        store.set_epoch_deadline(1);
        Ok(store)
    }
}

/// An idle instance that was made under what is in force; others are retired (rule D1).
fn current<T>(idle: &Idle<Warm<T>>) -> Option<Warm<T>> {
    std::iter::from_fn(|| idle.pop()).find(|warm| warm.store.data().is_current())
}

impl<T> Warm<T> {
    fn new(store: Store<HostState>, exports: T) -> Warm<T> {
        Warm {
            store,
            exports,
            calls: 0,
        }
    }

    fn begin(&mut self, call: &Call, ticks: u32) {
        self.store.data_mut().begin(call, ticks);
        self.store.set_epoch_deadline(1);
    }

    fn end(&mut self) -> bool {
        let state = self.store.data_mut();
        state.end();
        self.calls += 1;
        self.calls < CALLS_MAX && state.limits.may_idle()
    }
}
