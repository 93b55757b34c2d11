//! A generation: one component, compiled, that fits this host, and its instances. Calls
//! return what the guest said; a trap, an overrun or nonsense is an error and costs the instance.
//! Not for whether it answers well (`vectors`), nor for whether it is the one that answers
//! (`lineup`).

use std::sync::Arc;

use wasmtime::Engine;

use super::bytes::LoadError;
use super::compiler;
use super::engine::GuestEngine;
use super::faults::{Fault, Faults};
use super::info::{ComponentInfo, compile};
use super::instances::{Instances, Pre, Warm};
use super::limits;
use super::reply::{Prompt, Said};
use crate::answer::{Breakdown, Cause, ResolveError};
use crate::calls::{self, Question};
use crate::capabilities::{Call, HostState, Limit, Services};
use crate::world::bindings::policy;
use crate::world::{self, Export, ExportIndices};

/// Digest of no component.
const ABSENT: &str = "none";

/// What all instances of a component share.
struct Linked {
    info: ComponentInfo,
    digest: Arc<str>,
    exports: ExportIndices,
    pre: Option<Pre>,
}

pub struct Generation {
    linked: Arc<Linked>,
    instances: Instances,
    pub faults: Faults,
}

impl Generation {
    /// Compiles and links; takes some tenths of a second, so not on a request's thread.
    pub fn load(
        engine: &GuestEngine,
        bytes: &[u8],
        services: Arc<Services>,
    ) -> Result<Generation, LoadError> {
        let (component, info) = compile(engine, bytes)?;
        let exported = world::find_exported(&info.imports, &info.exports);
        let exported = exported.map_err(LoadError::World)?;
        // Names and version are right: what is left is a type that differs.
        let differs = |error: wasmtime::Error| LoadError::World(vec![format!("{error:#}")]);
        let exports = ExportIndices::find(&component, &exported);
        let exports = exports.map_err(|lacking| LoadError::World(vec![lacking]))?;
        let waiting = engine.waiting.instantiate_pre(&component);
        let prompt = engine.prompt.instantiate_pre(&component);
        let prompt = prompt.map_err(differs)?;
        let pre = Pre {
            waiting: waiting.map_err(differs)?,
            policy: policy::GuestIndices::new(&prompt).ok().map(Arc::new),
            prompt,
        };
        let linked = Linked {
            digest: info.digest.as_str().into(),
            info,
            exports,
            pre: Some(pre),
        };
        let generation = Generation::of(Some(&engine.engine), Arc::new(linked), services);
        generation.check_exports()?;
        Ok(generation)
    }

    /// An instance can be made, and its functions have the types of the world.
    fn check_exports(&self) -> Result<(), LoadError> {
        let failed = |error| compiler::denied(&error, LoadError::Instance);
        let (mut store, instance) = self.instances.bare().map_err(failed)?;
        let checked = calls::check_exports(&instance, &self.linked.exports, &mut store);
        checked.map_err(|differs| LoadError::World(vec![differs]))
    }

    /// What stands where a component would, in a process that needs no rules: every call of it
    /// fails.
    pub fn absent(services: Arc<Services>) -> Generation {
        let nothing = Linked {
            info: ComponentInfo {
                digest: ABSENT.to_owned(),
                size: 0,
                capabilities: Vec::new(),
                imports: Vec::new(),
                exports: Vec::new(),
            },
            digest: ABSENT.into(),
            exports: ExportIndices::default(),
            pre: None,
        };
        Generation::of(None, Arc::new(nothing), services)
    }

    fn of(engine: Option<&Engine>, linked: Arc<Linked>, services: Arc<Services>) -> Generation {
        let instances = Instances::new(engine, services, linked.digest.clone(), linked.pre.clone());
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

    /// Whether the component has a function.
    pub fn offers(&self, export: Export) -> bool {
        self.linked.exports.get(export).is_some()
    }

    fn check_offer(&self, export: Export) -> Result<(), ResolveError> {
        match self.offers(export) {
            true => Ok(()),
            false => Err(ResolveError::NotOffered(export)),
        }
    }

    pub(super) fn call_promptly<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
    ) -> Result<Prompt<Q::Reply>, ResolveError> {
        self.check_offer(Q::EXPORT)?;
        let failed = |error| self.note_failure(Q::EXPORT, &error);
        let mut warm = self.instances.prompt(call).map_err(failed)?;
        let Warm { store, exports, .. } = &mut warm;
        let reply = match question.call_prompt(exports, &self.linked.exports, store) {
            Err(error) if is_overtime(&error) && call.prompt_ticks < call.ticks => {
                warm.store.data().set_heavy(true);
                return Ok(Prompt::Overtime);
            }
            reply => reply.map_err(failed)?,
        };
        let state = warm.store.data();
        let said = match (state.is_heavy, state.wanted_io) {
            (true, _) => Prompt::Overtime,
            (_, true) => Prompt::WantsIo,
            (_, false) => {
                let ticks = call.prompt_ticks.saturating_sub(state.ticks_left());
                Prompt::Said(self.check_reply(question, reply, state, ticks)?)
            }
        };
        self.instances.keep_prompt(warm);
        Ok(said)
    }

    pub(super) async fn call_waiting<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
    ) -> Result<Said<Q::Reply>, ResolveError> {
        self.check_offer(Q::EXPORT)?;
        let failed = |error| self.note_failure(Q::EXPORT, &error);
        let mut warm = self.instances.waiting(call).await.map_err(failed)?;
        let Warm { store, exports, .. } = &mut warm;
        let reply = question.call_waiting(exports, &self.linked.exports, store);
        let reply = reply.await.map_err(failed)?;
        let state = warm.store.data();
        let ticks = call.ticks.saturating_sub(state.ticks_left());
        let said = self.check_reply(question, reply, state, ticks)?;
        self.instances.keep_waiting(warm);
        Ok(said)
    }

    fn check_reply<Q: Question>(
        &self,
        question: &Q,
        reply: Q::Reply,
        state: &HostState,
        ticks: u32,
    ) -> Result<Said<Q::Reply>, ResolveError> {
        if let Err(why) = question.check(&reply) {
            self.faults.note(Fault::Nonsense, Q::EXPORT);
            self.log_failure(Q::EXPORT, &why);
            return Err(ResolveError::Component(why.into()));
        }
        // What is quick after all may be begun promptly again.
        if ticks == 0 && !state.is_spared {
            state.set_heavy(false);
        }
        Ok(Said {
            reply,
            component: state.component_digest().clone(),
            settings: state.settings_digest().clone(),
            current: state.is_current(),
            excused: state.excused,
            ticks,
        })
    }

    /// Counts an error where another generation had an answer. Traps are counted where they happen.
    pub(super) fn note_error(&self, export: Export, why: &str) {
        self.faults.note(Fault::Error, export);
        if self.faults.log.allows() {
            tracing::warn!(
                component = &*self.linked.digest,
                call = %export,
                why,
                "the component failed where the one before did not"
            );
        }
    }

    fn log_failure(&self, export: Export, why: &str) {
        if self.faults.log.allows() {
            tracing::error!(
                component = &*self.linked.digest,
                call = %export,
                why,
                "the component failed"
            );
        }
    }

    /// Counts and reports a call that ended in no answer.
    fn note_failure(&self, export: Export, error: &wasmtime::Error) -> ResolveError {
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
        let (fault, cause) = match error.downcast_ref::<Limit>() {
            Some(Limit::Crowded) => return ResolveError::Overloaded,
            Some(Limit::Time) => (Fault::Overrun, Cause::OutOfTime),
            Some(_) => (Fault::Overrun, Cause::Other),
            None => (Fault::Trap, Cause::Other),
        };
        self.faults.note(fault, export);
        self.log_failure(export, &message);
        ResolveError::Component(Breakdown {
            cause,
            why: message,
        })
    }
}

fn is_overtime(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref::<Limit>(), Some(Limit::Time))
}
