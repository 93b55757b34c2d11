//! Who answers the same question. In process and without I/O (`near`): the same rules compiled
//! natively, and two policy engines. They are given every input in its finished form, as Ordain is;
//! what each does less is said there. As caches before Postgres with several instances: what
//! Ordain's predecessor did, and bentocache.
//!
//! Cedar switches on `preserve_order` of serde_json for this whole build, so JSON is decoded a
//! little differently here than in the service. No near hit decodes JSON.

pub mod bare;
pub mod bentocache;
pub mod cedar;
pub mod native;
mod node;
pub mod predecessor;
pub mod regorus;
