//! Everything that can be chosen about a running Ordain, with defaults. Not for where the choices
//! come from (`config.rs`: flags and environment).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::request::EgressMode;

/// Where policies are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum OriginChoice {
    /// In this process, for development and tests: lost when it ends.
    Memory,
    /// `migrate_url`: run migrations first, as that role; `None`: do not migrate.
    Postgres { url: String, migrate_url: Option<String> },
}

/// Which caches are on; a cache is on if all its switches are (DESIGN section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    pub all: bool,
    pub policy: bool,
    pub config: bool,
    pub near: bool,
    pub far: bool,
}

#[derive(Clone, PartialEq)]
pub struct Options {
    /// The component file.
    pub component: PathBuf,
    pub origin: OriginChoice,
    pub redis_url: Option<String>,
    pub base_egress: EgressMode,
    pub local_providers: Vec<String>,
    /// Provider and model for tenants without a policy.
    pub deployment_default: Option<(String, String)>,
    /// An ordinary answer is at most this old.
    pub bound: Duration,
    pub min_revision_wait: Duration,
    pub feed_deadline: Duration,
    /// Rows of the change log that are kept in memory.
    pub window: u32,
    pub near_bytes: u64,
    pub far_ttl: Duration,
    /// The first one signs far values, all of them are accepted.
    pub far_keys: Vec<String>,
    pub far_deadline: Duration,
    pub origin_deadline: Duration,
    pub request_deadline: Duration,
    pub switches: Switches,
}

impl Default for Switches {
    fn default() -> Self {
        Switches { all: true, policy: true, config: true, near: true, far: true }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            component: default_component(),
            origin: OriginChoice::Memory,
            redis_url: None,
            base_egress: EgressMode::Enforce,
            local_providers: vec!["local".into()],
            deployment_default: None,
            bound: Duration::from_secs(1),
            min_revision_wait: Duration::from_millis(100),
            feed_deadline: Duration::from_millis(300),
            window: 100_000,
            near_bytes: 256 << 20,
            far_ttl: Duration::from_secs(300),
            far_keys: Vec::new(),
            far_deadline: Duration::from_millis(20),
            origin_deadline: Duration::from_millis(500),
            request_deadline: Duration::from_secs(1),
            switches: Switches::default(),
        }
    }
}

/// `ordain-policy.wasm` beside the executable, where `make` puts it.
fn default_component() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_path_buf()));
    beside.unwrap_or_default().join("ordain-policy.wasm")
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs and keys carry secrets.
        f.debug_struct("Options")
            .field("component", &self.component)
            .field("postgres", &matches!(self.origin, OriginChoice::Postgres { .. }))
            .field("redis", &self.redis_url.is_some())
            .field("bound", &self.bound)
            .field("switches", &self.switches)
            .finish_non_exhaustive()
    }
}
