//! A generation: one component, compiled, of a world that this host runs, and its instances. Calls
//! return what the guest said; a trap, an overrun or nonsense is an error and costs the instance.
//! Not for whether it answers well (`vectors`), nor for whether it is the one that answers
//! (`lineup`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{ComponentExportIndex, Func, Instance, InstancePre};
use wasmtime::{Engine, Store};

use super::bytes::LoadError;
use super::check::Check;
use super::compiler;
use super::engine::GuestEngine;
use super::info::{ComponentInfo, compile};
use super::instances::{Exports, Instances, PromptPre, Warm};
use super::limits;
use super::log_limit::LogLimit;
use super::question::{Config, Many, One, Question};
use super::reply::{Prompt, Said};
use crate::answer::ResolveError;
use crate::capabilities::{Call, HostState, Limit, Services};
use crate::world::bindings::PolicyPre;
use crate::world::{self, ExportIndices};

/// Digest and world of no component.
const ABSENT: &str = "none";

/// What all instances of a component share.
struct Linked {
    info: ComponentInfo,
    digest: Arc<str>,
    exports: ExportIndices,
    prompt: PromptPre,
    waiting: Option<InstancePre<HostState>>,
}

pub struct Generation {
    linked: Arc<Linked>,
    instances: Instances,
    pub faults: Faults,
}

/// How often it failed, by kind.
#[derive(Default)]
pub struct Faults {
    pub traps: AtomicU64,
    /// Limits of time and of calls of the host.
    pub overruns: AtomicU64,
    /// Answers that are none.
    pub nonsense: AtomicU64,
    /// Errors where another generation had an answer.
    pub errors: AtomicU64,
    log: LogLimit,
}

impl Generation {
    /// Compiles and links; takes some tenths of a second, so not on a request's thread.
    pub fn load(
        engine: &GuestEngine,
        bytes: &[u8],
        services: Arc<Services>,
    ) -> Result<Generation, LoadError> {
        let (component, info) = compile(engine, bytes)?;
        let version = world::find_version(&info.imports, &info.exports);
        let version = version.map_err(LoadError::World)?;
        // Names and version are right: what is left is a type that differs.
        let differs = |error: wasmtime::Error| LoadError::World(vec![format!("{error:#}")]);
        let exports = ExportIndices::find(&component, version);
        let exports = exports.map_err(|lacking| LoadError::World(vec![lacking]))?;
        let waiting = engine
            .waiting
            .instantiate_pre(&component)
            .map_err(differs)?;
        let prompt = engine.prompt.instantiate_pre(&component).map_err(differs)?;
        let prompt = if version == world::VERSIONS[0] {
            PromptPre::Newest(PolicyPre::new(prompt).map_err(differs)?)
        } else {
            PromptPre::Released(prompt)
        };
        let linked = Linked {
            digest: info.digest.as_str().into(),
            info,
            exports,
            prompt,
            waiting: Some(waiting),
        };
        let generation = Generation::of(Some(&engine.engine), Arc::new(linked), services);
        generation.check_exports(&format!("ordain:policy/resolver@{version}"))?;
        Ok(generation)
    }

    /// An instance can be made, and its functions have the types of the world.
    fn check_exports(&self, resolver: &str) -> Result<(), LoadError> {
        let failed = |error| compiler::denied(&error, LoadError::Instance);
        let (mut store, instance) = self.instances.bare().map_err(failed)?;
        let indices = &self.linked.exports;
        let mut check =
            |name: &str,
             index: &ComponentExportIndex,
             fits: fn(&Func, &Store<HostState>) -> wasmtime::Result<()>| {
                func(&mut store, &instance, index)
                    .and_then(|export| fits(&export, &store))
                    .map_err(|error| {
                        LoadError::World(vec![format!(
                            "function `{name}` of {resolver}: {error:#}"
                        )])
                    })
            };
        if let Some(resolve) = &indices.resolve {
            check("resolve", resolve, One::fits)?;
        }
        if let Some(resolve_batch) = &indices.resolve_batch {
            check("resolve-batch", resolve_batch, Many::fits)?;
        }
        if let Some(get_effective) = &indices.get_effective {
            check("get-effective", get_effective, Config::fits)?;
        }
        let Some(validate) = &indices.validate else {
            return Ok(());
        };
        check("validate", validate, Check::fits)
    }

    /// What stands where a component would, in a process that needs no rules: every call of it
    /// fails.
    pub fn absent(services: Arc<Services>) -> Generation {
        let nothing = Linked {
            info: ComponentInfo {
                digest: ABSENT.to_owned(),
                size: 0,
                world: ABSENT.to_owned(),
                imports: Vec::new(),
                exports: Vec::new(),
            },
            digest: ABSENT.into(),
            exports: ExportIndices::default(),
            prompt: PromptPre::Absent,
            waiting: None,
        };
        Generation::of(None, Arc::new(nothing), services)
    }

    fn of(engine: Option<&Engine>, linked: Arc<Linked>, services: Arc<Services>) -> Generation {
        let instances = Instances::new(
            engine,
            services,
            linked.digest.clone(),
            linked.prompt.clone(),
            linked.waiting.clone(),
        );
        Generation {
            linked,
            instances,
            faults: Faults::default(),
        }
    }

    /// The same component with instances and counts of its own, on other services.
    pub fn beside(&self, engine: &GuestEngine, services: Arc<Services>) -> Generation {
        Generation::of(Some(&engine.engine), self.linked.clone(), services)
    }

    pub fn info(&self) -> &ComponentInfo {
        &self.linked.info
    }

    pub fn digest(&self) -> &Arc<str> {
        &self.linked.digest
    }

    /// Drops what idles: it is not asked any more.
    pub fn retire(&self) {
        self.instances.retire();
    }

    /// It is asked again.
    pub fn enlist(&self) {
        self.instances.enlist();
    }

    pub(super) fn call_promptly<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
    ) -> Result<Prompt<Q::Outcome>, ResolveError> {
        let export = question.export(&self.linked.exports);
        let export = export.ok_or(ResolveError::NotOffered)?;
        let mut warm = self.instances.prompt(call).map_err(|e| self.failed(&e))?;
        let Warm { store, exports, .. } = &mut warm;
        let outcome = match exports {
            Exports::Newest(policy) => question.call_newest(policy, store),
            Exports::Released(instance) => func(store, instance, export)
                .and_then(|export| question.call_released(export, store)),
        };
        let outcome = match outcome {
            Err(error) if is_overtime(&error) && call.prompt_ticks < call.ticks => {
                warm.store.data().set_heavy(true);
                return Ok(Prompt::Overtime);
            }
            outcome => outcome.map_err(|e| self.failed(&e))?,
        };
        let state = warm.store.data();
        let said = match (state.is_heavy, state.wanted_io) {
            (true, _) => Prompt::Overtime,
            (_, true) => Prompt::WantsIo,
            (_, false) => {
                let ticks = call.prompt_ticks.saturating_sub(state.ticks_left());
                Prompt::Said(self.check_reply(question, outcome, state, ticks)?)
            }
        };
        self.instances.keep_prompt(warm);
        Ok(said)
    }

    pub(super) async fn call_waiting<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        let export = question.export(&self.linked.exports);
        let export = export.ok_or(ResolveError::NotOffered)?;
        let mut warm = self
            .instances
            .waiting(call)
            .await
            .map_err(|e| self.failed(&e))?;
        let export = func(&mut warm.store, &warm.exports, export);
        let export = export.map_err(|e| self.failed(&e))?;
        let outcome = question.call_waiting(export, &mut warm.store).await;
        let outcome = outcome.map_err(|e| self.failed(&e))?;
        let state = warm.store.data();
        let ticks = call.ticks.saturating_sub(state.ticks_left());
        let said = self.check_reply(question, outcome, state, ticks)?;
        self.instances.keep_waiting(warm);
        Ok(said)
    }

    /// Whether it is of a world that has configs.
    pub fn has_configs(&self) -> bool {
        self.linked.exports.get_effective.is_some()
    }

    fn check_reply<Q: Question>(
        &self,
        question: &Q,
        outcome: Q::Outcome,
        state: &HostState,
        ticks: u32,
    ) -> Result<Said<Q::Outcome>, ResolveError> {
        if let Err(why) = question.nonsense(&outcome) {
            self.note_nonsense(&why);
            return Err(ResolveError::Component(why));
        }
        // What is quick after all may be begun promptly again.
        if ticks == 0 && !state.is_spared {
            state.set_heavy(false);
        }
        Ok(Said {
            outcome,
            component: state.component_digest().clone(),
            settings: state.settings_digest().clone(),
            current: state.is_current(),
            excused: state.excused,
            ticks,
        })
    }

    /// Counts an error where another generation had an answer. Traps are counted where they happen.
    pub(super) fn note_error(&self, why: &str) {
        self.faults.errors.fetch_add(1, Ordering::Relaxed);
        if self.faults.log.allows() {
            let component = &*self.linked.digest;
            tracing::warn!(
                component,
                why,
                "the component failed where the one before did not"
            );
        }
    }

    fn note_nonsense(&self, why: &str) {
        self.faults.nonsense.fetch_add(1, Ordering::Relaxed);
        self.log_failure(why);
    }

    fn log_failure(&self, why: &str) {
        if self.faults.log.allows() {
            tracing::error!(
                component = &*self.linked.digest,
                why,
                "the component failed"
            );
        }
    }

    /// Counts and reports a call that ended in no answer.
    fn failed(&self, error: &wasmtime::Error) -> ResolveError {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            // There is no place for one more instance of any component.
            return ResolveError::Overloaded;
        }
        let message = format!("{error:#}");
        if error.downcast_ref::<Limit>().is_none() && limits::is_out_of_memory(&message) {
            // The system has no memory for one more: the component is not to blame.
            if self.faults.log.allows() {
                let why = limits::hint(&message).unwrap_or(message);
                tracing::error!(
                    why = &*why,
                    "no memory for one more instance of the component"
                );
            }
            return ResolveError::Overloaded;
        }
        let count = match error.downcast_ref::<Limit>() {
            Some(Limit::Crowded) => return ResolveError::Overloaded,
            Some(_) => &self.faults.overruns,
            None => &self.faults.traps,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.log_failure(&message);
        ResolveError::Component(message)
    }
}

fn is_overtime(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref::<Limit>(), Some(Limit::Time))
}

fn func(
    store: &mut Store<HostState>,
    instance: &Instance,
    index: &ComponentExportIndex,
) -> wasmtime::Result<Func> {
    instance
        .get_func(store, index)
        .ok_or_else(|| wasmtime::Error::msg("an export has vanished"))
}
