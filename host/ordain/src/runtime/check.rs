//! What a guest is asked about a record that may be stored, what may not come back from it, and why
//! a record is none. Not for who is asked.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Func, TypedFunc};

use super::convert;
use super::question::Question;
use super::reply::Said;
use crate::answer::ResolveError;
use crate::capabilities::HostState;
use crate::request::Fault;
use crate::world::ExportIndices;
use crate::world::bindings::Policy;
use crate::world::bindings::types::{Failure, Invalid};

/// Longest record in bytes, as the origin keeps it.
const RECORD_LIMIT: usize = 256 << 10;
/// A longer text may take more than a tick: it is not begun on a thread that cannot wait.
const PROMPT_LIMIT: usize = 16 << 10;

/// What a record is checked as.
#[derive(Debug, Clone, Copy)]
pub enum Check<'a> {
    Policy(&'a str),
    /// One level of a config.
    Level(&'a str),
    /// A stored level and a patch of it.
    Patch(&'a str, &'a str),
}

/// Why a record cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Not JSON; the message says where.
    #[error("{0}")]
    Malformed(String),
    #[error("the record has {} fault(s)", .0.len())]
    Faults(Vec<Fault>),
    /// The component trapped or ran out of time.
    #[error("the component failed: {0}")]
    Component(String),
    /// The component is of a world that has no configs.
    #[error("the component that runs has no configs: it is of a world before 0.3.0")]
    NotOffered,
    /// It could not be checked within the request's deadline.
    #[error("the record could not be checked in time")]
    Late,
    #[error("too many records wait to be checked")]
    Overloaded,
}

/// Canonical text, or what is wrong.
type Outcome = Result<String, Invalid>;
type OfOne<'a> = TypedFunc<(&'a str,), (Outcome,)>;
type OfTwo<'a> = TypedFunc<(&'a str, &'a str), (Outcome,)>;

impl<'a> Check<'a> {
    /// Whether exports have the type of this question.
    pub fn fits(export: &Func, store: &Store<HostState>) -> wasmtime::Result<()> {
        Check::of_one(export, store).map(drop)
    }

    fn of_one(export: &Func, store: &Store<HostState>) -> wasmtime::Result<OfOne<'a>> {
        export.typed(store)
    }

    fn of_two(export: &Func, store: &Store<HostState>) -> wasmtime::Result<OfTwo<'a>> {
        export.typed(store)
    }
}

impl Question for Check<'_> {
    type Outcome = Outcome;

    fn call_newest(
        &self,
        policy: &Policy,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        let configs = policy.ordain_policy_configs();
        match self {
            Check::Policy(record) => policy.ordain_policy_resolver().call_validate(store, record),
            Check::Level(level) => configs.call_validate(store, level),
            Check::Patch(level, patch) => configs.call_patch(store, level, patch),
        }
    }

    fn call_released(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        Ok(match self {
            Check::Policy(text) | Check::Level(text) => {
                Check::of_one(&export, store)?.call(store, (text,))?.0
            }
            Check::Patch(level, patch) => {
                Check::of_two(&export, store)?
                    .call(store, (level, patch))?
                    .0
            }
        })
    }

    async fn call_waiting(
        &self,
        export: Func,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Outcome> {
        Ok(match self {
            Check::Policy(text) | Check::Level(text) => {
                let export = Check::of_one(&export, store)?;
                export.call_async(store, (text,)).await?.0
            }
            Check::Patch(level, patch) => {
                let export = Check::of_two(&export, store)?;
                export.call_async(store, (level, patch)).await?.0
            }
        })
    }

    fn export<'a>(&self, exports: &'a ExportIndices) -> Option<&'a ComponentExportIndex> {
        match self {
            Check::Policy(_) => exports.validate.as_ref(),
            Check::Level(_) => exports.validate_level.as_ref(),
            Check::Patch(..) => exports.patch_level.as_ref(),
        }
    }

    /// What the origin would refuse, and the caller be blamed for.
    fn nonsense(&self, outcome: &Outcome) -> Result<(), String> {
        let Ok(canonical) = outcome else {
            return Ok(());
        };
        if canonical.len() > RECORD_LIMIT {
            let size = canonical.len();
            return Err(format!("it made a record of {size} bytes"));
        }
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(canonical) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("it made a record that is no JSON object: {error}")),
        }
    }

    /// A record that is refused is an answer, too.
    fn outcomes<'a>(&self, _: &'a Outcome) -> impl Iterator<Item = Result<(), &'a Failure>> {
        std::iter::once(Ok(()))
    }

    fn demand(&self, _index: usize) -> u64 {
        0
    }

    fn is_heavy(&self) -> bool {
        let length = match self {
            Check::Policy(text) | Check::Level(text) => text.len(),
            Check::Patch(level, patch) => level.len() + patch.len(),
        };
        length > PROMPT_LIMIT
    }
}

/// What came of a check.
pub fn read_reply(reply: Result<Said<Outcome>, ResolveError>) -> Result<String, InvalidRecord> {
    match reply {
        Ok(said) => said.outcome.map_err(|invalid| match invalid {
            Invalid::Malformed(message) => InvalidRecord::Malformed(message),
            Invalid::Faults(faults) => InvalidRecord::Faults(convert::faults(faults)),
        }),
        Err(ResolveError::Component(why)) => Err(InvalidRecord::Component(why)),
        Err(ResolveError::NotOffered) => Err(InvalidRecord::NotOffered),
        Err(ResolveError::Late) => Err(InvalidRecord::Late),
        Err(ResolveError::Overloaded) => Err(InvalidRecord::Overloaded),
        Err(other) => Err(InvalidRecord::Component(other.to_string())),
    }
}
