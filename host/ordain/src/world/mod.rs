//! The world of a component as this host knows it: the types at the border (`bindings`), what there
//! is to import and to export, and since when (`table`), whether a component fits that (`versions`),
//! and where its exports are (`exports`). Below whoever offers imports (`capabilities`) and whoever
//! calls exports (`calls`, `runtime`). Not for what any of it means (`wit/`).

pub mod bindings;
mod exports;
mod table;
mod versions;

pub use exports::ExportIndices;
pub use table::{Capability, Export, HOST};
pub use versions::find_exported;
