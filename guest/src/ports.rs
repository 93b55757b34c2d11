//! Everything that the rules may ask of the host: the imports of `wit/deps/host`, one method each.
//! In the component they are the imports, in tests and benches whatever implements [`Ports`].
//! Not here: any decision about what to ask, or when.

use crate::words::{EgressMode, Tier};

/// The deployment's configuration: that of the platform, and what policies need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub base_egress: EgressMode,
    pub local_providers: Vec<String>,
    pub deployment_default: Option<DeploymentDefault>,
    pub bound_ms: u32,
    pub stale_limit_ms: u32,
    pub min_revision_wait_ms: u32,
    pub far_ttl_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentDefault {
    pub provider: String,
    pub model: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Tenant,
    Fleet,
}

/// The name of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    pub scope: Scope,
    pub name: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub position: u64,
    pub age_ms: u32,
    pub tier: Tier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    Off,
    NotReady,
    Failed,
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedUp {
    View(View),
    Unavailable(Unavailable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    pub fill: u64,
    pub revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Missing,
    Absent,
    Present(Present),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Debug,
    Info,
    Warn,
    Error,
}

pub trait Ports {
    /// `settings.get`
    fn settings(&mut self) -> Settings;
    /// `clock.remaining-ms`
    fn remaining_ms(&mut self) -> u32;
    /// `log.write`
    fn log(&mut self, severity: Severity, message: &str);
    /// `near.look-up`
    fn near(&mut self, subjects: &[Subject<'_>]) -> LookedUp;
    /// `far.look-up`
    fn far(&mut self, subjects: &[Subject<'_>]) -> LookedUp;
    /// `origin.read`
    fn origin(&mut self, subjects: &[Subject<'_>], min_revision: u64) -> LookedUp;
    /// `feed.catch-up`
    fn catch_up(&mut self, min_revision: u64, wait_ms: u32) -> LookedUp;
    /// `held.entry`
    fn entry(&mut self, index: u32) -> State;
    /// `held.text`
    fn text(&mut self, index: u32) -> String;
    /// `held.derived`
    fn derived(&mut self, index: u32) -> Vec<u8>;
    /// `held.attach`
    fn attach(&mut self, index: u32, bytes: &[u8]);
    /// `held.keep`
    fn keep(&mut self, index: u32, far_ttl_ms: u32) -> u64;
}

#[cfg(test)]
pub(crate) mod fake;
