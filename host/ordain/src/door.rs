//! The library's front door: one running Ordain, and what it answers. Wires the parts together;
//! decides nothing itself.
//!
//! `ordain` is the thing itself; `read` and `write` go to the origin for it; above them is a file
//! for each subject that callers have. `start` puts one together.

mod batch;
mod components;
mod configs;
mod decide;
mod import;
mod locks;
mod ordain;
mod policies;
mod read;
mod settings;
mod start;
mod status;
mod types;
mod upkeep;
mod write;

pub use self::ordain::Ordain;
pub use crate::calls::InvalidRecord;
pub use crate::runtime::ComponentInfo;
pub use components::{
    Changed, Checked, ComponentError, ComponentReport, Intent, TroubleKind, is_share, read_signed,
};
pub use import::{Imported, Importer};
pub use start::{
    Builder, CheckError, StartError, check_component_file, inspect_component, migrate,
};
pub use types::{
    FeedStatus, ImportError, NearStatus, Patched, PutError, ReadError, Status, Stored, TierStatus,
};
