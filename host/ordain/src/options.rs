//! What an [`Ordain`](crate::door::Ordain) needs to start, with the defaults of DESIGN section 5.
//! Not where the values come from: flags and environment are read by the server.

use std::path::PathBuf;
use std::time::Duration;

use crate::request::EgressMode;
use ordain_coherence::caches::Configured;
pub use ordain_coherence::caches::{FEED_INTERVAL, Switches};
pub use ordain_store::postgres::SchemaName;
pub use ordain_store::secret::masked_url;
use ordain_store::secret::{Secret, SecretUrl};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// File of the component.
    pub component: PathBuf,
    /// How components are checked, run and replaced.
    pub components: ComponentOptions,
    /// Whether instances of the component are used again.
    pub instances: InstanceMode,
    pub origin: OriginChoice,
    /// Where everything lies in the database.
    pub schema: SchemaName,
    /// `None`: there is no far cache.
    pub redis_url: Option<SecretUrl>,
    /// PEM file of authorities that may certify a Redis with TLS, beside those of the system.
    pub redis_ca: Option<PathBuf>,
    /// Egress mode before any tenant, user or caller has a say.
    pub base_egress: EgressMode,
    /// Providers that do not leave the house.
    pub local_providers: Vec<String>,
    /// Provider and model for tenants without a policy; `None`: they are refused.
    pub deployment_default: Option<(String, String)>,
    /// An answer older than this is not fresh.
    pub bound: Duration,
    /// While the origin does not answer: an answer of up to this age may be given, marked as stale.
    pub stale_limit: Duration,
    /// How long a caller that demands a revision waits for the feed.
    pub min_revision_wait: Duration,
    /// Deadline of one read of the change log.
    pub feed_deadline: Duration,
    /// Rows of the change log that are kept in memory.
    pub window: u32,
    /// Memory for the near cache.
    pub near_bytes: u64,
    /// How long a value stays in far.
    pub far_ttl: Duration,
    /// Keys that seal far values; the first one seals, all are accepted. Empty: no seal.
    pub far_keys: Vec<Secret>,
    pub far_deadline: Duration,
    pub origin_deadline: Duration,
    /// Connections for reads and writes of records; the feed has two of its own.
    pub origin_connections: u32,
    pub request_deadline: Duration,
    /// Pause between two comparisons of some cached records with the origin; zero: none.
    pub audit_interval: Duration,
    pub switches: Switches,
}

/// Whether an instance of the component serves one call after the other, or one alone: then nothing
/// that it keeps can reach another tenant's call, for some 20 us more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InstanceMode {
    #[default]
    Warm,
    Fresh,
}

/// Whether a component needs a signature; one that is given must always be right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignatureMode {
    #[default]
    Optional,
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentOptions {
    /// Load the file again whenever it changes.
    pub reload: bool,
    pub signature: SignatureMode,
    /// Ed25519 public keys in base64, raw or as the one line of a PEM file.
    pub keys: Vec<String>,
    /// File of decision vectors beside those that every component must answer.
    pub vectors: Option<PathBuf>,
    /// Folder for compiled code; `None`: it is compiled on every start.
    pub cache: Option<PathBuf>,
    /// How long a new component is watched, with the one before at hand.
    pub watch: Duration,
    /// More failures than this within that time, and the one before runs again.
    pub faults: u32,
}

impl Default for ComponentOptions {
    fn default() -> ComponentOptions {
        ComponentOptions {
            reload: false,
            signature: SignatureMode::Optional,
            keys: Vec::new(),
            vectors: None,
            cache: default_compiled_cache(),
            watch: Duration::from_secs(600),
            faults: 20,
        }
    }
}

/// The source of truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginChoice {
    /// Gone when the process ends; for development and tests.
    Memory,
    Postgres {
        url: SecretUrl,
        /// Role that owns the tables; `None`: the one of `url`.
        migrate_url: Option<SecretUrl>,
    },
}

impl Default for Options {
    fn default() -> Options {
        let cached = Configured::default();
        Options {
            component: default_component(),
            components: ComponentOptions::default(),
            instances: InstanceMode::Warm,
            origin: OriginChoice::Memory,
            schema: SchemaName::default(),
            redis_url: None,
            redis_ca: None,
            base_egress: EgressMode::Enforce,
            local_providers: vec!["local".to_owned()],
            deployment_default: None,
            bound: cached.bound,
            stale_limit: cached.stale_limit,
            min_revision_wait: Duration::from_millis(100),
            feed_deadline: cached.feed_deadline,
            window: 100_000,
            near_bytes: 256 << 20,
            far_ttl: Duration::from_secs(300),
            far_keys: Vec::new(),
            far_deadline: Duration::from_millis(20),
            origin_deadline: Duration::from_millis(500),
            origin_connections: 16,
            request_deadline: Duration::from_secs(1),
            audit_interval: Duration::from_secs(10),
            switches: cached.switches,
        }
    }
}

/// What the caches need of it.
impl From<&Options> for Configured {
    fn from(options: &Options) -> Configured {
        Configured {
            switches: options.switches,
            has_far: options.redis_url.is_some(),
            bound: options.bound,
            stale_limit: options.stale_limit,
            feed_deadline: options.feed_deadline,
        }
    }
}

/// `ordain-policy.wasm` beside the executable.
pub fn default_component() -> PathBuf {
    let name = "ordain-policy.wasm";
    std::env::current_exe()
        .ok()
        .and_then(|path| path.parent().map(|folder| folder.join(name)))
        .unwrap_or_else(|| PathBuf::from(name))
}

/// `ordain` in the user's folder for caches; `None`: there is no such folder.
pub fn default_compiled_cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let caches = match set("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(set("HOME")?).join(".cache"),
    };
    caches.is_absolute().then(|| caches.join("ordain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_secret() {
        let options = Options {
            origin: OriginChoice::Postgres {
                url: "postgres://me:s3cret@db/x".into(),
                migrate_url: Some("postgres://owner:s3cret@db/x".into()),
            },
            redis_url: Some("redis://:s3cret@cache".into()),
            far_keys: vec!["s3cret".into()],
            ..Options::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("postgres://owner:***@db/x"), "{shown}");
    }
}
