//! The answer to a resolve request (DESIGN 4.4), as a value and as JSON. Not how it is found.

mod json;

use crate::request::{EgressMode, Fault};
use crate::world::Export;
use ordain_store::ids::Tenant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    Task,
    Tenant,
    Deployment,
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressRule {
    Base,
    Tenant,
    User,
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    Near,
    Far,
    Origin,
}

/// Who may answer the request, and with which parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub provider: String,
    pub provider_rule: Rule,
    pub model: String,
    pub model_rule: Rule,
    pub temperature: Option<(f64, Rule)>,
    pub max_tokens: Option<(u64, Rule)>,
}

/// Why a request may not be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `no-policy`, `remote-egress-disabled`, `model-not-allowed`; an open set.
    pub code: &'static str,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Allow(Route),
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    pub requested: EgressMode,
    pub effective: EgressMode,
    pub rule: EgressRule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Revision of the record, of several the highest; `None`: there is none.
    pub revision: Option<u64>,
    pub tier: Tier,
    pub stale: bool,
    /// Milliseconds since the record was last proven to be current.
    pub age_ms: u32,
    /// Every change up to this position is reflected (`Ordain-Revision`).
    pub position: u64,
    /// `sha256:...` of the component that decided.
    pub component: std::sync::Arc<str>,
    /// Eight hex digits that name the settings it decided with.
    pub settings: std::sync::Arc<str>,
}

/// A decision or a refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub tenant: Tenant,
    pub user: Option<String>,
    pub task: Option<String>,
    pub verdict: Verdict,
    pub egress: Egress,
    pub provenance: Provenance,
}

/// Why there is neither a decision nor a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("nothing that may answer could be reached")]
    Unavailable,
    #[error("the request's deadline is over")]
    Late,
    #[error("too many requests are waiting")]
    Overloaded,
    #[error("the demanded revision is not known here (yet)")]
    RevisionUnknown,
    #[error("a stored record breaks the rules of the component")]
    RecordInvalid(Vec<Fault>),
    #[error("the request is not valid")]
    RequestInvalid(Vec<Fault>),
    /// The component trapped or ran out of time.
    #[error("the component failed: {0}")]
    Component(Breakdown),
    /// The component has no such capability, or an older version of it.
    #[error("the component that runs does not offer `{0}`")]
    NotOffered(Export),
}

/// Why a component did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Breakdown {
    pub cause: Cause,
    /// For the log.
    pub why: String,
}

/// What follows from a breakdown depends on this, and on no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was ended to ask another component the same, and could go on.
    PutOff,
    /// It used up all the time that a call may compute for.
    OutOfTime,
    /// It trapped, took too much of something else, or answered what is no answer.
    Other,
}

impl From<String> for Breakdown {
    fn from(why: String) -> Breakdown {
        Breakdown {
            cause: Cause::Other,
            why,
        }
    }
}

impl Answer {
    /// The route, unless the request is refused.
    pub fn route(&self) -> Option<&Route> {
        match &self.verdict {
            Verdict::Allow(route) => Some(route),
            Verdict::Refuse(_) => None,
        }
    }
}
