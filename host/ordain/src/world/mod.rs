//! The world of a component as this host knows it: the types at the border (`bindings`), which
//! versions there are and what a component may import (`versions`), and where its exports are
//! (`exports`). Below whoever offers imports (`capabilities`) and whoever calls exports
//! (`runtime`). Not for what any of it means (`wit/`).

pub mod bindings;
mod exports;
mod versions;

use bindings::resolver::Decision;
use bindings::types::Failure;

pub use exports::ExportIndices;
pub use versions::{VERSIONS, find_version};

/// What the guest says about one request.
pub type Outcome = Result<Decision, Failure>;
