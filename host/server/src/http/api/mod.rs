//! What can be called, a file for each capability: its handlers, which only translate, and beside
//! them its routes and the schemas of what they take and answer. A new file is named here, twice.

mod caches;
mod component;
mod config;
mod import;
mod instance;
mod policy;
mod resolve;
mod tenants;
mod upkeep;

use super::route::Route;

pub use import::{LINES, Line};
pub use policy::RECORD_LIMIT;
pub use resolve::resolve;

/// All routes. The first is the one that is asked for all the time.
pub const ROUTES: &[&[Route]] = &[
    resolve::ROUTES,
    tenants::ROUTES,
    policy::ROUTES,
    config::ROUTES,
    component::ROUTES,
    import::ROUTES,
    caches::ROUTES,
    upkeep::ROUTES,
    instance::ROUTES,
];

/// Schemas by name, each file an object of them, as JSON Schema has them.
pub const SCHEMAS: &[&str] = &[
    include_str!("shared.json"),
    include_str!("resolve.json"),
    include_str!("tenants.json"),
    include_str!("policy.json"),
    include_str!("config.json"),
    include_str!("component.json"),
    include_str!("import.json"),
    include_str!("caches.json"),
    include_str!("upkeep.json"),
    include_str!("instance.json"),
];
