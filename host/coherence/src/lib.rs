//! The coherence protocol: what near and far may answer, and why that is never wrong. Implements
//! those rules of the protocol (docs/architecture.md) that concern one host. Not for deciding
//! which tier to ask, or how fresh is fresh enough: the guest does.

pub mod absent;
pub mod auditor;
pub mod breaker;
pub mod caches;
pub mod clock;
pub mod far;
pub mod far_value;
pub mod feed;
pub mod flight;
pub mod near;
pub mod origin;
pub mod places;
pub mod restamp;
pub mod shares;
pub mod window;

#[cfg(test)]
mod tests;

pub use breaker::{Breaker, BreakerStatus};
pub use clock::Moment;
pub use near::Entry;
pub use window::Coherence;
