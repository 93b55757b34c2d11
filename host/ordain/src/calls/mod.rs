//! What a guest is asked: one type for each function that components export, in a file for each
//! capability. A call says where it is exported, with which arguments it is made, what cannot be an
//! answer to it, which answers are failures, and how those of two components are compared. Not for
//! which component is asked, when, and what follows (`runtime`).

mod all;
mod checked;
mod config;
mod convert;
mod policy;
mod question;

pub use all::check_exports;
pub use checked::{Checked, InvalidRecord, read_checked};
pub use config::{GetEffective, PatchConfig, ValidateConfig, read_effective};
pub use convert::read_failure;
pub use policy::{Resolve, ResolveBatch, ValidatePolicy, read_answer};
pub use question::{Compared, Exports, Question, Reply, Shown};
