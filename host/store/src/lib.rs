//! What stores records: the origin (source of truth), its change log, and the far cache. One trait
//! each (`records`), one file or folder per backend, one contract suite for all (`contract`). Not
//! for caching rules (`ordain_coherence`) nor policy rules (the guest); nothing here knows Wasmtime
//! or HTTP.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod ids;
pub mod memory;
pub mod postgres;
pub mod records;
pub mod redis;
pub mod secret;
pub mod supervise;
pub mod utf8;

pub use records::*;
pub(crate) use records::{MIXED, NAMELESS};
