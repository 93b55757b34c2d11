//! How a call of the guest ends. Not for why it ends without a reply (`ResolveError`).

use std::sync::Arc;

/// What the guest said, and what is to be known about the call.
pub struct Said<T> {
    pub reply: T,
    /// Digest of the component.
    pub component: Arc<str>,
    /// Digest of the settings that it went by.
    pub settings: Arc<str>,
    /// These settings are still in force.
    pub current: bool,
    /// Something did not answer: the guest is not to blame if it has no answer.
    pub excused: bool,
    /// Ticks of the engine that it computed through.
    pub ticks: u32,
}

/// How a call of a prompt instance ends.
pub enum Prompt<T> {
    Said(Said<T>),
    /// The guest wanted to wait for a server.
    WantsIo,
    /// It computes for longer than a thread can be had without a break.
    Overtime,
}
