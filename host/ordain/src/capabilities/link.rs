//! Links the imports that components may have to [`HostState`], under their newest versions: a
//! component that was made for an older one finds them by the rules of semantic versions. By hand
//! rather than by generated traits: strings and lists are read where they lie in the guest's memory,
//! and every call is counted. Not for what an import does.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList, WasmStr};

use super::subject::{SubjectRef, check_length, is_name};
use super::{HostState, Limit, near};
use crate::world::bindings::log::Severity;
use crate::world::bindings::types::{LookedUp, Scope, Unavailable};
use crate::world::{Capability, HOST};
use ordain_store::ids::Key;

type Store<'a> = StoreContextMut<'a, HostState>;

/// Links instances that wait for servers: their calls are async.
pub fn link_waiting(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_common(linker)?;
    let mut far = linker.instance(&HOST.interface("far"))?;
    far.func_wrap_async("look-up", |mut store: Store<'_>, (subjects,)| {
        Box::new(async move {
            let keys = keys(&mut store, &subjects)?;
            let state = store.data_mut();
            state.step_aside();
            let looked_up = state.far_look_up(keys).await;
            Ok((state.waited(looked_up),))
        })
    })?;
    let mut origin = linker.instance(&HOST.interface("origin"))?;
    origin.func_wrap_async(
        "read",
        |mut store: Store<'_>, (subjects, min_revision): (WasmList<SubjectRef>, u64)| {
            Box::new(async move {
                let keys = keys(&mut store, &subjects)?;
                let state = store.data_mut();
                state.step_aside();
                let looked_up = state.origin_read(keys, min_revision).await;
                Ok((state.waited(looked_up),))
            })
        },
    )?;
    let mut feed = linker.instance(&HOST.interface("feed"))?;
    feed.func_wrap_async(
        "catch-up",
        |mut store: Store<'_>, (min_revision, wait_ms): (u64, u32)| {
            Box::new(async move {
                let state = entered(&mut store)?;
                state.step_aside();
                let looked_up = state.catch_up(min_revision, wait_ms).await;
                Ok((state.waited(looked_up),))
            })
        },
    )
}

/// Links instances that never wait, which makes their calls cheaper: what would have to wait
/// answers `off` and notes that it was wanted, and the caller repeats the call on a waiting
/// instance. What is known without waiting (a switch that is off, a breaker that is open) is
/// answered here.
pub fn link_prompt(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_common(linker)?;
    let mut far = linker.instance(&HOST.interface("far"))?;
    far.func_wrap(
        "look-up",
        |mut store: Store<'_>, (_,): (WasmList<SubjectRef>,)| {
            let state = entered(&mut store)?;
            let known = state.far_promptly();
            Ok((state.promptly(known),))
        },
    )?;
    let mut origin = linker.instance(&HOST.interface("origin"))?;
    origin.func_wrap(
        "read",
        |mut store: Store<'_>, (_, _): (WasmList<SubjectRef>, u64)| {
            let state = entered(&mut store)?;
            let known = state.origin_promptly();
            Ok((state.promptly(known),))
        },
    )?;
    let mut feed = linker.instance(&HOST.interface("feed"))?;
    feed.func_wrap("catch-up", |mut store: Store<'_>, (_, _): (u64, u32)| {
        let state = entered(&mut store)?;
        let known = state.feed_promptly();
        Ok((state.promptly(known),))
    })
}

/// Links what answers at once; the same for both kinds of instances.
fn link_common(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let policy = Capability::Policy.package();
    // Types alone: nothing to call.
    for types in [HOST.interface("types"), policy.interface("types")] {
        linker.instance(&types)?;
    }
    let mut settings = linker.instance(&HOST.interface("settings"))?;
    settings.func_wrap("get", |mut store: Store<'_>, ()| {
        Ok((entered(&mut store)?.settings.platform,))
    })?;
    let mut settings = linker.instance(&policy.interface("settings"))?;
    settings.func_wrap("get", |mut store: Store<'_>, ()| {
        Ok((entered(&mut store)?.settings.policy.clone(),))
    })?;
    let mut clock = linker.instance(&HOST.interface("clock"))?;
    clock.func_wrap("remaining-ms", |mut store: Store<'_>, ()| {
        Ok((entered(&mut store)?.remaining_ms(),))
    })?;
    let mut log = linker.instance(&HOST.interface("log"))?;
    log.func_wrap(
        "write",
        |mut store: Store<'_>, (severity, message): (Severity, WasmStr)| {
            if entered(&mut store)?.may_log() {
                let message = message.to_str(&store)?;
                store.data().write_log(severity, &message);
            }
            Ok(())
        },
    )?;
    let mut held = linker.instance(&HOST.interface("held"))?;
    held.func_wrap("entry", |mut store: Store<'_>, (index,): (u32,)| {
        Ok((entered(&mut store)?.entry(index),))
    })?;
    held.func_wrap("text", |mut store: Store<'_>, (index,): (u32,)| {
        Ok((entered(&mut store)?.text(index),))
    })?;
    held.func_wrap("derived", |mut store: Store<'_>, (index,): (u32,)| {
        Ok((entered(&mut store)?.derived(index),))
    })?;
    held.func_wrap(
        "attach",
        |mut store: Store<'_>, (index, bytes): (u32, WasmList<u8>)| {
            entered(&mut store)?;
            store.data().attach(index, bytes.as_le_slice(&store));
            Ok(())
        },
    )?;
    held.func_wrap(
        "keep",
        |mut store: Store<'_>, (index, far_ttl_ms): (u32, u32)| {
            Ok((entered(&mut store)?.keep(index, far_ttl_ms),))
        },
    )?;
    let mut near = linker.instance(&HOST.interface("near"))?;
    near.func_wrap("look-up", |mut store: Store<'_>, (subjects,)| {
        entered(&mut store)?;
        Ok((near::look_up(store, &subjects)?,))
    })?;
    near.func_wrap("find", |mut store: Store<'_>, (subject,): (SubjectRef,)| {
        entered(&mut store)?;
        Ok((near::find(store, &subject)?,))
    })
}

/// The state of the instance, one call of the host further.
fn entered<'a>(store: &'a mut Store<'_>) -> wasmtime::Result<&'a mut HostState> {
    let state = store.data_mut();
    match state.host_calls.checked_sub(1) {
        Some(left) => state.host_calls = left,
        None => return Err(wasmtime::Error::new(Limit::HostCalls)),
    }
    Ok(state)
}

/// The keys that the guest means, of this call's tenant or the fleet and nobody else. `None`: there
/// is no such tenant or subject.
fn keys(
    store: &mut Store<'_>,
    subjects: &WasmList<SubjectRef>,
) -> wasmtime::Result<Option<Vec<Key>>> {
    entered(store)?;
    check_length(subjects)?;
    let mut keys = Vec::with_capacity(subjects.len());
    for index in 0..subjects.len() {
        let Some(subject) = subjects.get(&mut *store, index).transpose()? else {
            break;
        };
        let name = subject.name.to_str(&*store)?;
        let tenant = match (subject.scope, &store.data().tenant) {
            (Scope::Fleet, _) => None,
            (Scope::Tenant, Some(tenant)) => Some(tenant.clone()),
            (Scope::Tenant, None) => return Ok(None),
        };
        if !is_name(&name) {
            return Ok(None);
        }
        let subject = (&*name).into();
        keys.push(Key { tenant, subject });
    }
    Ok(Some(keys))
}

impl HostState {
    /// An import has waited.
    fn waited(&mut self, looked_up: LookedUp) -> LookedUp {
        self.waited = true;
        if let LookedUp::Unavailable(reason) = looked_up {
            self.excused |= is_excuse(reason);
        }
        looked_up
    }

    fn promptly(&mut self, known: Option<Unavailable>) -> LookedUp {
        let known = known.or(self.hurried.then_some(Unavailable::Failed));
        self.wanted_io |= known.is_none();
        self.excused |= known.is_some_and(is_excuse);
        LookedUp::Unavailable(known.unwrap_or(Unavailable::Off))
    }
}

/// Something did not answer. A tier that is switched off is no reason to have no answer.
fn is_excuse(reason: Unavailable) -> bool {
    match reason {
        Unavailable::Failed | Unavailable::Late | Unavailable::NotReady => true,
        Unavailable::Off => false,
    }
}
