//! Which provider and model may serve this tenant, user and task.
//!
//! The five hops of a request: `http` (or `cli`, or your own code) -> [`Ordain::resolve`] in
//! `runtime` -> the guest -> `capabilities` -> `backends`. `coherence` decides what near and far may
//! answer. Dependencies point in that direction only: no file imports one that imports it, and `tests/layers`
//! says which modules are above which.

pub mod access;
pub mod answer;
pub mod backends;
pub mod caches;
pub mod capabilities;
pub mod cli;
pub mod coherence;
pub mod config;
pub mod counts;
pub mod effective;
pub mod http;
pub mod ids;
pub mod metrics;
pub mod options;
pub mod ordain;
pub mod places;
pub mod request;
pub mod runtime;
pub mod secret;
pub mod shares;
pub mod supervise;
pub mod utf8;
pub mod world;

pub use ordain::Ordain;
pub use runtime::compile_apart;
