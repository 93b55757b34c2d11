//! The words of `wit/deps` as plain Rust: of the platform, of policies and of configs. What they
//! mean is said there; here are no rules.

use serde::{Deserialize, Serialize};

/// What happens to a request's text before it leaves the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressMode {
    Enforce,
    ReportOnly,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Near,
    Far,
    Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub pointer: String,
    pub message: String,
}

/// A request of the tenant that the call is bound to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub user: Option<String>,
    pub task: Option<String>,
    pub model: Option<String>,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u64>,
    pub egress_mode: Option<EgressMode>,
    pub min_revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Task,
    Tenant,
    Deployment,
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressRule {
    Base,
    Tenant,
    User,
    Caller,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub provider: String,
    pub provider_rule: Rule,
    pub model: String,
    pub model_rule: Rule,
    pub temperature: Option<(f64, Rule)>,
    pub max_tokens: Option<(u64, Rule)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    NoPolicy,
    RemoteEgressDisabled,
    ModelNotAllowed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    pub revision: Option<u64>,
    pub tier: Tier,
    pub stale: bool,
    pub age_ms: u32,
    pub position: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    pub egress: Egress,
    pub provenance: Provenance,
}

/// Why there is neither a route nor a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Unavailable,
    RevisionUnknown,
    RecordInvalid(Vec<Fault>),
    RequestInvalid(Vec<Fault>),
}

/// Why a record cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    Malformed(String),
    Faults(Vec<Fault>),
}

/// What holds for a tenant or one of its users.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// JSON text, and so are the levels.
    pub config: String,
    pub levels: String,
    pub provenance: Provenance,
}
