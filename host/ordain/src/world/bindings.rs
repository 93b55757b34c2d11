//! The only `bindgen!` of the host. Names the types of the newest world and its exports; says
//! nothing about what they mean (`wit/` does). Imports are linked by hand (`capabilities/link.rs`).

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "policy",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::exports::ordain::policy::{configs, resolver};
pub use self::ordain::policy::{held, log, near, settings, types};
