//! Import `near`: look-ups without waiting. On the path of every near hit, so its arguments are
//! read where they lie in the guest's memory instead of being copied out first.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmList, WasmStr};

use super::{Held, HostState};
use crate::runtime::bindings::types::{LookedUp, Scope, Tier, Unavailable, View};

/// `types.subject`, its name still in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
struct SubjectRef {
    scope: Scope,
    name: WasmStr,
}

pub fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker
        .instance("ordain:policy/near@0.1.0")?
        .func_wrap("look-up", |store, (subjects,): (WasmList<SubjectRef>,)| {
            Ok((look_up(store, &subjects)?,))
        })
}

fn look_up(
    mut store: StoreContextMut<'_, HostState>,
    subjects: &WasmList<SubjectRef>,
) -> wasmtime::Result<LookedUp> {
    let state = store.data_mut();
    state.held.clear();
    if let Some(trial) = &state.trial {
        let trial = trial.clone();
        state
            .held
            .extend((0..subjects.len()).map(|_| Held::Near(trial.clone())));
        let position = state.services.coherence.watermark().unwrap_or(0);
        let view = View {
            position,
            age_ms: 0,
            tier: Tier::Near,
        };
        return Ok(LookedUp::View(view));
    }
    if !state.in_force.near_on {
        return Ok(LookedUp::Unavailable(Unavailable::Off));
    }
    for last in [false, true] {
        // Rule N1: the view first, then the entries.
        let Some(view) = store.data().services.coherence.view() else {
            return Ok(LookedUp::Unavailable(Unavailable::NotReady));
        };
        store.data_mut().held.clear();
        for index in 0..subjects.len() {
            let Some(subject) = subjects.get(&mut store, index).transpose()? else {
                break;
            };
            let name = subject.name.to_str(&store)?;
            let state = store.data();
            let tenant = match (subject.scope, &state.tenant) {
                (Scope::Fleet, _) => None,
                (Scope::Tenant, Some(tenant)) => Some(tenant.as_str()),
                (Scope::Tenant, None) => return Ok(LookedUp::Unavailable(Unavailable::Failed)),
            };
            let entry = state.services.coherence.near.get(tenant, &name);
            store
                .data_mut()
                .held
                .push(entry.map_or(Held::Missing, Held::Near));
        }
        if store.data_mut().within(view.watermark, last) {
            return Ok(store.data().view(view, Tier::Near));
        }
    }
    Ok(LookedUp::Unavailable(Unavailable::NotReady))
}
