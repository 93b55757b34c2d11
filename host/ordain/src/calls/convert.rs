//! What answers of all capabilities share, out of the types of the border: failures, faults and
//! provenance. Names only, no decisions.

use std::sync::Arc;

use crate::answer::{Provenance, ResolveError, Tier};
use crate::request::Fault;
use crate::world::bindings::types::{self, Failure};

pub fn read_failure(failure: Failure) -> ResolveError {
    match failure {
        Failure::Unavailable => ResolveError::Unavailable,
        Failure::RevisionUnknown => ResolveError::RevisionUnknown,
        Failure::RecordInvalid(found) => ResolveError::RecordInvalid(read_faults(found)),
        Failure::RequestInvalid(found) => ResolveError::RequestInvalid(read_faults(found)),
    }
}

pub fn read_faults(faults: Vec<types::Fault>) -> Vec<Fault> {
    faults
        .into_iter()
        .map(|fault| Fault {
            pointer: fault.pointer,
            message: fault.message,
        })
        .collect()
}

/// `component` and `settings`: digests of what it was answered by.
pub fn read_provenance(
    from: types::Provenance,
    component: Arc<str>,
    settings: Arc<str>,
) -> Provenance {
    Provenance {
        revision: from.revision,
        tier: match from.tier {
            types::Tier::Near => Tier::Near,
            types::Tier::Far => Tier::Far,
            types::Tier::Origin => Tier::Origin,
        },
        stale: from.stale,
        age_ms: from.age_ms,
        position: from.position,
        component,
        settings,
    }
}
