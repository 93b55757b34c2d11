//! Components at run time: push one, try it in the shadow, promote it, roll back. The fleet's wish
//! is kept in the origin and announced by the change log; every instance carries it out by itself
//! (`follow`). Not for what a component answers.

mod candidate;
mod change;
mod check;
mod doubt;
mod file;
mod fleet;
mod follow;
mod leave;
mod report;
mod shelf;
mod state;
mod swap;
mod types;

pub use check::Checked;
pub(super) use file::Stamp;
pub use file::read_signed;
pub use fleet::is_share;
pub use report::ComponentReport;
pub(super) use state::{Components, Part};
pub use types::{Changed, ComponentError, Intent, TroubleKind};
