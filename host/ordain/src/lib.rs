//! Which provider and model may serve this tenant, user and task.
//!
//! The five hops of a request: the server (or your own code) -> [`Ordain::resolve`] in `door` ->
//! `runtime` -> the guest -> `capabilities` -> `ordain_store`. `ordain_coherence` decides what near
//! and far may answer. Dependencies point in that direction only: the compiler keeps the order of
//! the crates, and `tests/tests/layers` that of the files in each.

pub mod answer;
pub mod calls;
pub mod capabilities;
pub mod counts;
pub mod door;
pub mod effective;
pub mod options;
pub mod request;
pub mod runtime;
pub mod world;

pub use door::Ordain;
pub use ordain_coherence::caches;
pub use ordain_store::{self as store, ids};
pub use runtime::compile_apart;
