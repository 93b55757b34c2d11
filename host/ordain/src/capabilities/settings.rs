//! Import `settings`: what the guest is told of the configuration, and the name of exactly these
//! values.

use std::sync::Arc;
use std::time::Duration;

use crate::options::Options;
use crate::request::EgressMode;
use crate::world::bindings::{settings, types};
use ordain_coherence::caches::InForce;

/// What the guest needs of the configuration, and the name of exactly these values.
pub struct GuestSettings {
    pub(super) values: settings::Settings,
    /// Eight hex digits.
    pub digest: Arc<str>,
}

impl GuestSettings {
    pub fn new(options: &Options, in_force: InForce) -> GuestSettings {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
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
