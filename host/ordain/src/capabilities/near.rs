//! Import `near`: look-ups without waiting. On the path of every near hit, so its arguments are
//! read where they lie in the guest's memory instead of being copied out first.

use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

use super::HostState;
use super::state::Held;
use super::subject::{SubjectRef, check_length, is_name};
use crate::world::bindings::near::{Finding, Found};
use crate::world::bindings::types::{LookedUp, Scope, Tier, Unavailable, View};
use ordain_coherence::window::View as HostView;
use ordain_store::ids::Kind;

pub fn look_up(
    mut store: StoreContextMut<'_, HostState>,
    subjects: &WasmList<SubjectRef>,
) -> wasmtime::Result<LookedUp> {
    check_length(subjects)?;
    if let Some(known) = begun(store.data_mut(), subjects.len()) {
        return Ok(known);
    }
    for last in [false, true] {
        // Rule N1: the view first, then the entries.
        let Some(view) = store.data().services.coherence.view() else {
            break;
        };
        store.data_mut().held.clear();
        for index in 0..subjects.len() {
            let Some(subject) = subjects.get(&mut store, index).transpose()? else {
                break;
            };
            if let Err(reason) = held(&mut store, &subject)? {
                return Ok(LookedUp::Unavailable(reason));
            }
        }
        if let Some(view) = one_state(store.data_mut(), view, last) {
            return Ok(LookedUp::View(view));
        }
    }
    store.data_mut().excused = true;
    Ok(LookedUp::Unavailable(Unavailable::NotReady))
}

pub fn find(
    mut store: StoreContextMut<'_, HostState>,
    subject: &SubjectRef,
) -> wasmtime::Result<Finding> {
    let looked_up = match begun(store.data_mut(), 1) {
        Some(known) => known,
        None => find_one(&mut store, subject)?,
    };
    Ok(match looked_up {
        LookedUp::View(view) => Finding::Found(Found {
            view,
            entry: store.data().entry(0),
        }),
        LookedUp::Unavailable(reason) => Finding::Unavailable(reason),
    })
}

fn find_one(
    store: &mut StoreContextMut<'_, HostState>,
    subject: &SubjectRef,
) -> wasmtime::Result<LookedUp> {
    for last in [false, true] {
        let Some(view) = store.data().services.coherence.view() else {
            break;
        };
        store.data_mut().held.clear();
        if let Err(reason) = held(store, subject)? {
            return Ok(LookedUp::Unavailable(reason));
        }
        if let Some(view) = one_state(store.data_mut(), view, last) {
            return Ok(LookedUp::View(view));
        }
    }
    store.data_mut().excused = true;
    Ok(LookedUp::Unavailable(Unavailable::NotReady))
}

/// What is known without looking: a record on trial, or that near is off.
fn begun(state: &mut HostState, subjects: usize) -> Option<LookedUp> {
    state.held.clear();
    if let Some(trial) = &state.trial {
        let trial = trial.clone();
        let held = (0..subjects).map(|_| Held::Near(trial.clone()));
        state.held.extend(held);
        let position = state.services.coherence.watermark().unwrap_or(0);
        return Some(LookedUp::View(View {
            position,
            age_ms: 0,
            tier: Tier::Near,
        }));
    }
    (!state.in_force.near.any()).then_some(LookedUp::Unavailable(Unavailable::Off))
}

/// Leaves the entry of a subject in the host.
fn held(
    store: &mut StoreContextMut<'_, HostState>,
    subject: &SubjectRef,
) -> wasmtime::Result<Result<(), Unavailable>> {
    let name = subject.name.to_str(&*store)?;
    let state = store.data();
    let tenant = match (subject.scope, &state.tenant) {
        (Scope::Fleet, _) => None,
        (Scope::Tenant, Some(tenant)) => Some(tenant.as_str()),
        (Scope::Tenant, None) => return Ok(Err(Unavailable::Failed)),
    };
    if !is_name(&name) {
        return Ok(Err(Unavailable::Failed));
    }
    if !state.in_force.near.has(Kind::of(&name)) {
        return Ok(Err(Unavailable::Off));
    }
    let entry = state.services.coherence.near.get(tenant, &name);
    if state.is_spared && entry.as_ref().is_some_and(|e| e.is_heavy(state.mark)) {
        // It would begin in vain: the call is repeated where it may take its time.
        store.data_mut().is_heavy = true;
        return Ok(Err(Unavailable::Off));
    }
    let entry = entry.map_or(Held::Missing, Held::Near);
    store.data_mut().held.push(entry);
    Ok(Ok(()))
}

/// The view, if all that is held belongs to it (rule R4).
fn one_state(state: &mut HostState, view: HostView, last: bool) -> Option<View> {
    state
        .within(view.watermark, last)
        .then(|| state.view(view, Tier::Near))
}
