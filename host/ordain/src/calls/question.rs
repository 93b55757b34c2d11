//! One call of a guest: what each of them has to say of itself, and how all are made. Not for any
//! one of them (the files beside this one).

use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Func, Instance, Lift, Lower};

use crate::capabilities::HostState;
use crate::world::bindings::policy;
use crate::world::bindings::types::Failure;
use crate::world::{Export, ExportIndices};
use ordain_store::ids::Tenant;

/// The exports of one instance.
pub struct Exports {
    pub instance: Instance,
    /// Those of a policy of the newest version, found and checked once.
    pub policy: Option<policy::Guest>,
}

/// What may come back from a call.
pub trait Reply: Lift + Clone + Send + Sync + 'static {
    /// Why this cannot be an answer, if it cannot: no rule makes such a thing.
    fn check(&self) -> Result<(), String>;

    /// The answers one by one, in the order of what was asked: whether there is one, or why not.
    fn answers(&self) -> impl Iterator<Item = Result<(), &Failure>>;
}

pub trait Question: Sync + Sized {
    /// Where it is exported.
    const EXPORT: Export;

    type Arguments<'a>: ComponentNamedList + Lower + Send + Sync
    where
        Self: 'a;
    type Reply: Reply;

    fn arguments(&self) -> Self::Arguments<'_>;

    /// Why this cannot be an answer to it, if it cannot.
    fn check(&self, reply: &Self::Reply) -> Result<(), String> {
        reply.check()
    }

    /// The revision that one of what is asked demands.
    fn demand(&self, _index: usize) -> u64 {
        0
    }

    /// Whether it takes so long, probably, that it is not begun where nobody else has a turn
    /// meanwhile.
    fn is_heavy(&self) -> bool {
        false
    }

    /// Ticks that it may take beyond those of one request.
    fn more_ticks(&self) -> u32 {
        0
    }

    /// Calls an instance that keeps its thread.
    fn call_prompt(
        &self,
        exports: &Exports,
        indices: &ExportIndices,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Self::Reply> {
        call_typed(self, &exports.instance, indices, store)
    }

    /// Calls an instance that may wait.
    fn call_waiting(
        &self,
        instance: &Instance,
        indices: &ExportIndices,
        store: &mut Store<HostState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Reply>> + Send {
        async move {
            let export = find(instance, indices, Self::EXPORT, store)?;
            let export = export.typed::<Self::Arguments<'_>, (Self::Reply,)>(&*store)?;
            Ok(export.call_async(store, self.arguments()).await?.0)
        }
    }
}

/// A question that a candidate is asked as well, after it was answered.
pub trait Compared: Question {
    /// The same, kept for later.
    type Kept: Compared<Reply = Self::Reply> + Send + 'static;

    fn keep(&self) -> Self::Kept;

    /// What is compared of an answer; `None`: it is none.
    fn show(&self, tenant: Option<&Tenant>, reply: Self::Reply) -> Option<Shown>;

    /// Whose it was, for those who look at differences: no user and no record.
    fn task(&self) -> Option<&str> {
        None
    }
}

/// What an answer says, and by which record.
pub struct Shown {
    /// Answers of different records are not compared.
    pub revision: Option<u64>,
    pub fields: Value,
}

/// Calls an export that is found and checked on every call.
pub fn call_typed<Q: Question>(
    question: &Q,
    instance: &Instance,
    indices: &ExportIndices,
    store: &mut Store<HostState>,
) -> wasmtime::Result<Q::Reply> {
    let export = find(instance, indices, Q::EXPORT, store)?;
    let export = export.typed::<Q::Arguments<'_>, (Q::Reply,)>(&*store)?;
    Ok(export.call(store, question.arguments())?.0)
}

/// Whether an instance exports a question with its types.
pub fn fits<'a, Q: Question + 'a>(
    instance: &Instance,
    indices: &ExportIndices,
    store: &mut Store<HostState>,
) -> wasmtime::Result<()> {
    let export = find(instance, indices, Q::EXPORT, store)?;
    let fits = export.typed::<Q::Arguments<'a>, (Q::Reply,)>(&*store);
    fits.map(drop)
}

fn find(
    instance: &Instance,
    indices: &ExportIndices,
    export: Export,
    store: &mut Store<HostState>,
) -> wasmtime::Result<Func> {
    let index = indices.get(export);
    let export = index.and_then(|index| instance.get_func(store, index));
    export.ok_or_else(|| wasmtime::Error::msg("an export has vanished"))
}
