//! Imports `settings`, of the platform and of policies: what the guest is told of the configuration,
//! and the name of exactly these values.

use std::sync::Arc;
use std::time::Duration;

use crate::options::Options;
use crate::request::EgressMode;
use crate::world::bindings::{policy_settings, policy_types, settings};
use ordain_coherence::caches::InForce;

/// What the guest needs of the configuration, and the name of exactly these values.
pub struct GuestSettings {
    pub(super) platform: settings::Settings,
    pub(super) policy: policy_settings::Settings,
    /// Eight hex digits.
    pub digest: Arc<str>,
}

impl GuestSettings {
    pub fn new(options: &Options, in_force: InForce) -> GuestSettings {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let deployment_default = options.deployment_default.clone();
        let policy = policy_settings::Settings {
            base_egress: options.base_egress.into(),
            local_providers: options.local_providers.clone(),
            deployment_default: deployment_default
                .map(|(provider, model)| policy_settings::DeploymentDefault { provider, model }),
        };
        let platform = settings::Settings {
            bound_ms: millis(in_force.bound),
            stale_limit_ms: millis(in_force.stale_limit),
            min_revision_wait_ms: millis(options.min_revision_wait),
            far_ttl_ms: millis(options.far_ttl),
        };
        // `Debug` shows every field; the digest only has to differ when they do.
        let digest = blake3::hash(format!("{platform:?}{policy:?}").as_bytes()).to_hex();
        GuestSettings {
            platform,
            policy,
            digest: digest[..8].into(),
        }
    }
}

impl From<EgressMode> for policy_types::EgressMode {
    fn from(mode: EgressMode) -> Self {
        match mode {
            EgressMode::Enforce => policy_types::EgressMode::Enforce,
            EgressMode::ReportOnly => policy_types::EgressMode::ReportOnly,
            EgressMode::Off => policy_types::EgressMode::Off,
        }
    }
}

impl From<policy_types::EgressMode> for EgressMode {
    fn from(mode: policy_types::EgressMode) -> Self {
        match mode {
            policy_types::EgressMode::Enforce => EgressMode::Enforce,
            policy_types::EgressMode::ReportOnly => EgressMode::ReportOnly,
            policy_types::EgressMode::Off => EgressMode::Off,
        }
    }
}
