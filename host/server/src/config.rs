//! Flags, environment and `ordain.toml`: one struct, whose doc comments are the help, and its
//! checked form. What cannot work is refused here, with what to do, before anything starts. Not for
//! what the values do.

mod access;
mod checked;
mod claims;
mod environment;
mod error;
mod file;
mod files;
mod listen;
mod meant;
mod reference;
mod secrets;
mod service_links;
mod sources;
#[cfg(test)]
mod tests;
mod unnamed;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use ordain::options::{InstanceMode, SignatureMode};
use ordain::request::EgressMode;
use ordain_store::postgres::SchemaName;
use ordain_store::secret::{Secret, SecretUrl};

pub use access::{AccessConfig, AccessSettings};
pub use checked::{Draft, EdgeSettings, Environment, Settings};
pub use claims::ClaimsConfig;
pub use environment::{faulty, prepared, strangers, variable};
pub use error::ConfigError;
pub use file::{File, FileError};
pub use listen::{Listen, UNIX, socket_path};
pub use reference::reference;
pub use sources::{Source, Sources};
pub use unnamed::Reader;
use values::{bytes, instances, mode, signature, within};
pub use values::{duration, fraction, switch, whole};

/// What can be configured. A flag wins over its variable, and that over the file; an empty variable
/// counts as unset.
#[derive(Clone, Args)]
pub struct Config {
    /// File with options, a line each [default: ordain.toml in the working directory, if there is
    /// one]
    #[arg(long = "config", env = "ORDAIN_CONFIG", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Address to listen on; port 0 takes a free one. Or a Unix socket, which only its owner and
    /// group may use: unix:/run/ordain.sock
    #[arg(
        long,
        env = "ORDAIN_LISTEN",
        default_value = "127.0.0.1:7171",
        value_name = "ADDRESS"
    )]
    pub listen: String,

    /// production (default), development or test
    #[arg(long, env = "ORDAIN_ENV", value_name = "NAME")]
    pub env: Option<String>,

    /// After SIGTERM: how long requests are still taken, while /readyz says that the instance goes,
    /// so that load balancers can take it out
    #[arg(long, env = "ORDAIN_DRAIN", default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub drain: Duration,

    /// How long a connection may be without a request; longer than load balancers in front keep
    /// theirs
    #[arg(long, env = "ORDAIN_IDLE_TIMEOUT", default_value = "75s", value_parser = duration, value_name = "DURATION")]
    pub idle_timeout: Duration,

    /// Most connections at a time [default: what the limit on open files leaves, at most 10000]
    #[arg(long, env = "ORDAIN_MAX_CONNECTIONS", value_parser = |text: &str| within(text, 1..=u32::MAX), value_name = "NUMBER")]
    pub max_connections: Option<u32>,

    /// The component with the rules [default: ordain-policy.wasm beside the executable]
    #[arg(long, env = "ORDAIN_COMPONENT", value_name = "FILE")]
    pub component: Option<PathBuf>,

    /// Load the component's file again whenever it changes; refused if the new one is not in order
    #[arg(long, env = "ORDAIN_WATCH", value_parser = switch, default_value = "off", default_missing_value = "on", num_args = 0..=1, require_equals = true, action = ArgAction::Set, value_name = "on|off")]
    pub watch: bool,

    /// Instances of the component: warm ones serve one call after the other, fresh ones serve one
    /// call and nothing in them outlives it, for some 20 us more
    #[arg(long, env = "ORDAIN_INSTANCES", default_value = "warm", value_parser = instances, value_name = "warm|fresh")]
    pub instances: InstanceMode,

    /// Whether a component must be signed; a signature that is given must be right either way
    #[arg(long, env = "ORDAIN_COMPONENT_SIGNATURE", default_value = "optional", value_parser = signature, value_name = "optional|required")]
    pub component_signature: SignatureMode,

    /// Ed25519 public keys that may sign components, comma separated: 32 bytes in base64, or the
    /// line between BEGIN and END of a PEM file
    #[arg(long, env = "ORDAIN_COMPONENT_KEYS", value_name = "KEYS")]
    pub component_keys: Option<String>,

    /// Decision vectors that a component must answer, beside the built-in ones
    #[arg(long, env = "ORDAIN_COMPONENT_VECTORS", value_name = "FILE")]
    pub component_vectors: Option<PathBuf>,

    /// Folder for compiled code, private to the user; `off`: compile on every start
    /// [default: ordain in the user's cache folder]
    #[arg(long, env = "ORDAIN_COMPONENT_CACHE", value_name = "FOLDER")]
    pub component_cache: Option<PathBuf>,

    /// How long a new component is watched, with the one before at hand for what it fails at; 0s:
    /// not at all
    #[arg(long, env = "ORDAIN_COMPONENT_WATCH_TIME", default_value = "10m", value_parser = duration, value_name = "DURATION")]
    pub component_watch_time: Duration,

    /// More failures than this in that time, and the component before it runs again
    #[arg(
        long,
        env = "ORDAIN_COMPONENT_MAX_FAULTS",
        default_value = "20",
        value_parser = whole::<u32>,
        value_name = "COUNT"
    )]
    pub component_max_faults: u32,

    /// Postgres, the source of truth; without it policies live in memory (development and test
    /// only)
    #[arg(long, env = "DATABASE_URL", value_name = "URL")]
    pub database_url: Option<SecretUrl>,

    /// Postgres as the role that owns the tables, for migrations [default: the database URL]
    #[arg(long, env = "ORDAIN_MIGRATE_URL", value_name = "URL")]
    pub migrate_url: Option<SecretUrl>,

    /// Schema of the database that everything lies in; two deployments in one database have one
    /// each
    #[arg(
        long,
        env = "ORDAIN_SCHEMA",
        default_value = "ordain",
        value_name = "NAME"
    )]
    pub schema: SchemaName,

    /// Redis, the cache that instances share; without it there is none. redis://, rediss:// (TLS),
    /// redis+cluster://HOST:PORT,HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/NAME,
    /// rediss+...://
    #[arg(long, env = "REDIS_URL", value_name = "URL")]
    pub redis_url: Option<SecretUrl>,

    /// PEM file of authorities that may certify a Redis with TLS, beside those of the system
    #[arg(long, env = "ORDAIN_REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,

    /// Egress mode before any tenant, user or caller has a say: enforce, report-only or off
    #[arg(long, env = "ORDAIN_EGRESS_MODE", default_value = "enforce", value_parser = mode, value_name = "MODE")]
    pub egress_mode: EgressMode,

    /// Providers that do not leave the house, comma separated
    #[arg(
        long,
        env = "ORDAIN_LOCAL_PROVIDERS",
        default_value = "local",
        value_name = "NAMES"
    )]
    pub local_providers: String,

    /// Provider for tenants without a policy; needs a default model too
    #[arg(long, env = "ORDAIN_DEFAULT_PROVIDER", value_name = "NAME")]
    pub default_provider: Option<String>,

    /// Model for tenants without a policy; needs a default provider too
    #[arg(long, env = "ORDAIN_DEFAULT_MODEL", value_name = "NAME")]
    pub default_model: Option<String>,

    /// An answer older than this is not fresh
    #[arg(long, env = "ORDAIN_BOUND", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub bound: Duration,

    /// While Postgres does not answer: how old an answer may be that is given all the same, marked
    /// as stale; 0s: none is
    #[arg(long, env = "ORDAIN_STALE_LIMIT", default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub stale_limit: Duration,

    /// How long a caller that demands a revision waits for the feed; 0s: not at all
    #[arg(long, env = "ORDAIN_MIN_REVISION_WAIT", default_value = "100ms", value_parser = duration, value_name = "DURATION")]
    pub min_revision_wait: Duration,

    /// Deadline of one read of the change log
    #[arg(long, env = "ORDAIN_FEED_DEADLINE", default_value = "300ms", value_parser = duration, value_name = "DURATION")]
    pub feed_deadline: Duration,

    /// Rows of the change log that are kept in memory
    #[arg(long, env = "ORDAIN_WINDOW", default_value = "100000", value_parser = |text: &str| within(text, 1..=u32::MAX), value_name = "ROWS")]
    pub window: u32,

    /// Memory for the near cache; KiB, MiB and GiB are understood; 0: it holds nothing
    #[arg(long, env = "ORDAIN_NEAR_BYTES", default_value = "256MiB", value_parser = bytes, value_name = "BYTES")]
    pub near_bytes: u64,

    /// How long a value stays in the far cache
    #[arg(long, env = "ORDAIN_FAR_TTL", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub far_ttl: Duration,

    /// Secret that seals far values, so that nobody with access to Redis can forge one; two, comma
    /// separated, during a change: the first seals, both are accepted
    #[arg(long, env = "ORDAIN_FAR_KEY", value_name = "SECRET")]
    pub far_key: Option<Secret>,

    /// Deadline of one call to the far cache
    #[arg(long, env = "ORDAIN_FAR_DEADLINE", default_value = "20ms", value_parser = duration, value_name = "DURATION")]
    pub far_deadline: Duration,

    /// Deadline of one call to the origin
    #[arg(long, env = "ORDAIN_ORIGIN_DEADLINE", default_value = "500ms", value_parser = duration, value_name = "DURATION")]
    pub origin_deadline: Duration,

    /// Most connections to the origin for reads and writes; the change log has two more
    #[arg(long, env = "ORDAIN_ORIGIN_CONNECTIONS", default_value = "16", value_parser = |text: &str| within(text, 1..=1000), value_name = "NUMBER")]
    pub origin_connections: u32,

    /// Deadline of one request
    #[arg(long, env = "ORDAIN_REQUEST_DEADLINE", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub request_deadline: Duration,

    /// How often a few cached records are compared with the origin, to measure their staleness; 0s:
    /// never
    #[arg(long, env = "ORDAIN_AUDIT_INTERVAL", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub audit_interval: Duration,

    /// Switch of all caches; a cache is on if every switch that concerns it is on
    #[arg(long, env = "ORDAIN_CACHE", default_value = "on", value_parser = switch, action = ArgAction::Set, value_name = "on|off")]
    pub cache: bool,

    /// Switch of the caches of policies
    #[arg(long, env = "ORDAIN_CACHE_POLICY", default_value = "on", value_parser = switch, action = ArgAction::Set, value_name = "on|off")]
    pub cache_policy: bool,

    /// Switch of the caches of configs
    #[arg(long, env = "ORDAIN_CACHE_CONFIG", default_value = "on", value_parser = switch, action = ArgAction::Set, value_name = "on|off")]
    pub cache_config: bool,

    /// Switch of the caches in this process
    #[arg(long, env = "ORDAIN_CACHE_NEAR", default_value = "on", value_parser = switch, action = ArgAction::Set, value_name = "on|off")]
    pub cache_near: bool,

    /// Switch of the caches in Redis
    #[arg(long, env = "ORDAIN_CACHE_FAR", default_value = "on", value_parser = switch, action = ArgAction::Set, value_name = "on|off")]
    pub cache_far: bool,

    #[command(flatten)]
    pub access: AccessConfig,
}
