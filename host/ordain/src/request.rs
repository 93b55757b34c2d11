//! A resolve request (DESIGN 4.2) and its JSON form. Shape only (types, names, unknown fields); the
//! limits of its values are rules of the guest.

mod faults;
mod json;
#[cfg(test)]
mod tests;
mod token;
mod trial;

use ordain_store::ids::Tenant;

pub use faults::{Faults, Room, cut, fault, pointer};
pub use json::{BATCH_LIMIT, Body, Faulty, Item, Malformed, parse};
pub use trial::{Trial, parse_trial};

/// Egress mode (DESIGN 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EgressMode {
    Enforce,
    ReportOnly,
    Off,
}

/// What a caller asks for one tenant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub user: Option<String>,
    pub task: Option<String>,
    pub model: Option<String>,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u64>,
    pub egress_mode: Option<EgressMode>,
    /// The answer must reflect the log up to here; 0: no demand.
    pub min_revision: u64,
}

/// A request together with the tenant that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRequest {
    pub tenant: Tenant,
    pub request: Request,
}

/// One fault of a document: a JSON pointer and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    pub pointer: String,
    pub message: String,
}
