//! What every backend must do, as functions to run against one (`--features contract`): an own
//! backend passes them, or it is none. Each function for origins wants an empty one; those for far
//! want keys of their own only. They panic where a backend breaks the contract.

mod components;
mod configs;
mod far;
mod log;
mod origin;
mod support;
mod upkeep;

pub use self::components::*;
pub use self::configs::*;
pub use self::far::*;
pub use self::log::*;
pub use self::origin::*;
pub use self::support::{body, of_tenant, of_user, tenant};
pub use self::upkeep::*;
