//! The only `bindgen!` of the host. Names the types of the newest version of every package, and
//! their exports; says nothing about what they mean (`wit/` does). Imports are linked by hand
//! (`capabilities/link.rs`).

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "rules",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::exports::ordain::config::config;
pub use self::exports::ordain::policy::policy;
pub use self::ordain::host::{held, log, near, settings, types};
pub use self::ordain::policy::{settings as policy_settings, types as policy_types};
