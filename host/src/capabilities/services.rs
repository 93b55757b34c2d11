//! Imports `settings`, `clock` and `log`.

use std::sync::Arc;

use super::HostState;
use crate::caches::InForce;
use crate::coherence::Moment;
use crate::options::Options;
use crate::request::EgressMode;
use crate::world::bindings::log::Severity;
use crate::world::bindings::{settings, types};

/// Longest message that is logged, in bytes.
const MESSAGE_MAX: usize = 1024;

/// What the guest needs of the configuration, and the name of exactly these values.
pub struct GuestSettings {
    pub(super) values: settings::Settings,
    /// Eight hex digits.
    pub digest: Arc<str>,
}

impl GuestSettings {
    pub fn new(options: &Options, in_force: InForce) -> GuestSettings {
        let millis =
            |time: std::time::Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let values = settings::Settings {
            base_egress: options.base_egress.into(),
            local_providers: options.local_providers.clone(),
            deployment_default: options
                .deployment_default
                .clone()
                .map(|(provider, model)| settings::DeploymentDefault { provider, model }),
            bound_ms: millis(in_force.bound),
            stale_limit_ms: millis(in_force.stale_limit),
            min_revision_wait_ms: millis(options.min_revision_wait),
            far_ttl_ms: millis(options.far_ttl),
        };
        // `Debug` shows every field; the digest only has to differ when they do.
        let digest = blake3::hash(format!("{values:?}").as_bytes()).to_hex();
        GuestSettings {
            values,
            digest: digest[..8].into(),
        }
    }
}

impl From<EgressMode> for types::EgressMode {
    fn from(mode: EgressMode) -> Self {
        match mode {
            EgressMode::Enforce => types::EgressMode::Enforce,
            EgressMode::ReportOnly => types::EgressMode::ReportOnly,
            EgressMode::Off => types::EgressMode::Off,
        }
    }
}

impl From<types::EgressMode> for EgressMode {
    fn from(mode: types::EgressMode) -> Self {
        match mode {
            types::EgressMode::Enforce => EgressMode::Enforce,
            types::EgressMode::ReportOnly => EgressMode::ReportOnly,
            types::EgressMode::Off => EgressMode::Off,
        }
    }
}

impl HostState {
    pub(super) fn remaining_ms(&self) -> u32 {
        let remaining = self.deadline.since(Moment::now());
        u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX)
    }

    /// Messages beyond the first few of a call are dropped.
    pub(super) fn may_log(&mut self) -> bool {
        let left = self.messages.checked_sub(1);
        self.messages = left.unwrap_or(0);
        left.is_some()
    }

    pub(super) fn write_log(&self, severity: Severity, message: &str) {
        let mut end = message.len().min(MESSAGE_MAX);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = &message[..end];
        let tenant = self.tenant.as_ref().map_or("", |t| t.as_str());
        let component = &*self.component;
        match severity {
            _ if self.shadow => tracing::debug!(tenant, component, "candidate: {message}"),
            Severity::Debug => tracing::debug!(tenant, component, "{message}"),
            Severity::Info => tracing::info!(tenant, component, "{message}"),
            Severity::Warn => tracing::warn!(tenant, component, "{message}"),
            Severity::Error => tracing::error!(tenant, component, "{message}"),
        }
    }
}
