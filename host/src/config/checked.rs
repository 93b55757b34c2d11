//! The checked form of a [`Config`]: what `serve` and the library work with. Every guard of DESIGN
//! section 7 is here.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Config;
use super::access::AccessSettings;
use super::listen::Listen;
use super::values::list;
use crate::access::KeyError;
use crate::ids::is_id;
use crate::options::{
    ComponentOptions, FEED_INTERVAL, InstanceMode, Options, OriginChoice, SignatureMode, Switches,
    default_compiled_cache, default_component, masked_url,
};
use crate::runtime::signature;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Production,
    Development,
    Test,
}

/// Why Ordain does not start with this configuration, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "memory origin is not permitted in production: set DATABASE_URL, or ORDAIN_ENV=development"
    )]
    MemoryOrigin,
    #[error("--dev is refused with ORDAIN_ENV=production: leave one of them out")]
    DevInProduction,
    #[error("ORDAIN_ENV is {0:?}: it must be production, development or test")]
    Environment(String),
    #[error("{0} is set without {1}: a default for tenants without a policy needs both")]
    HalfDefault(&'static str, &'static str),
    #[error("{0} must have 1 to 128 characters and no control characters")]
    Id(&'static str),
    #[error(
        "ORDAIN_BOUND must be above the feed's interval (250ms) plus ORDAIN_FEED_DEADLINE ({0}): \
         raise the bound or lower the deadline"
    )]
    Bound(String),
    #[error(
        "key {0} of ORDAIN_COMPONENT_KEYS is no Ed25519 public key: 32 bytes in base64, or the line \
         between BEGIN and END of a PEM file (openssl pkey -in KEY -pubout)"
    )]
    Key(usize),
    #[error(
        "ORDAIN_COMPONENT_SIGNATURE=required needs keys to check by: set ORDAIN_COMPONENT_KEYS"
    )]
    NoKeys,
    #[error("{0} must not be zero")]
    Zero(&'static str),
    #[error(
        "ORDAIN_LISTEN: {0:?} is no address to listen on, which looks like 127.0.0.1:7171 or unix:/run/ordain.sock"
    )]
    Listen(String),
    #[error("{0}: {1}")]
    Url(&'static str, String),
    #[error("{0}")]
    Socket(String),
    #[error(
        "--dev has no access control, so ORDAIN_LISTEN={0} is refused: listen on a loopback address like \
         127.0.0.1:7171, or leave --dev out and set a key to check tokens by"
    )]
    DevReachable(SocketAddr),
    #[error("{0}: {1}")]
    AccessKey(&'static str, KeyError),
}

/// A configuration that can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub options: Options,
    pub listen: Listen,
    pub environment: Environment,
    pub dev: bool,
    pub access: AccessSettings,
    /// The file that was named.
    pub file: Option<PathBuf>,
}

impl Config {
    /// What the library needs, for a command that has found its database.
    pub fn options(&self, origin: OriginChoice) -> Result<Options, ConfigError> {
        let options = Options {
            component: self
                .component
                .clone()
                .filter(|path| !path.as_os_str().is_empty())
                .unwrap_or_else(default_component),
            components: self.components()?,
            instances: self.instances,
            origin,
            redis_url: given(&self.redis_url),
            redis_ca: self
                .redis_ca
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            base_egress: self.egress_mode,
            local_providers: list(&self.local_providers),
            deployment_default: self.deployment_default()?,
            bound: self.bound,
            stale_limit: self.stale_limit,
            min_revision_wait: self.min_revision_wait,
            feed_deadline: self.feed_deadline,
            window: self.window,
            near_bytes: self.near_bytes,
            far_ttl: self.far_ttl,
            far_keys: list(self.far_key.as_deref().unwrap_or_default()),
            far_deadline: self.far_deadline,
            origin_deadline: self.origin_deadline,
            origin_connections: self.origin_connections,
            request_deadline: self.request_deadline,
            audit_interval: self.audit_interval,
            switches: Switches {
                all: self.cache,
                policy: self.cache_policy,
                config: self.cache_config,
                near: self.cache_near,
                far: self.cache_far,
            },
        };
        for (name, duration) in [
            ("ORDAIN_FEED_DEADLINE", options.feed_deadline),
            ("ORDAIN_FAR_TTL", options.far_ttl),
            ("ORDAIN_FAR_DEADLINE", options.far_deadline),
            ("ORDAIN_ORIGIN_DEADLINE", options.origin_deadline),
            ("ORDAIN_REQUEST_DEADLINE", options.request_deadline),
        ] {
            if duration.is_zero() {
                return Err(ConfigError::Zero(name));
            }
        }
        // Rules F3 and D1: a host that is in order must be able to prove itself within the bound.
        if options.bound <= FEED_INTERVAL + options.feed_deadline {
            let deadline = humantime::format_duration(options.feed_deadline).to_string();
            return Err(ConfigError::Bound(deadline));
        }
        Ok(options)
    }

    fn components(&self) -> Result<ComponentOptions, ConfigError> {
        let path = |path: &Option<PathBuf>| path.clone().filter(|p| !p.as_os_str().is_empty());
        let keys = list(self.component_keys.as_deref().unwrap_or_default());
        if let Some(number) = keys.iter().position(|text| signature::key(text).is_none()) {
            return Err(ConfigError::Key(number + 1));
        }
        if keys.is_empty() && self.component_signature == SignatureMode::Required {
            return Err(ConfigError::NoKeys);
        }
        Ok(ComponentOptions {
            reload: self.watch,
            signature: self.component_signature,
            keys,
            vectors: path(&self.component_vectors),
            cache: match path(&self.component_cache) {
                None => default_compiled_cache(),
                Some(off) if off.as_os_str() == "off" => None,
                folder => folder,
            },
            watch: self.component_watch_time,
            faults: self.component_max_faults,
        })
    }

    /// What `serve` needs.
    pub fn settings(&self, dev: bool) -> Result<Settings, ConfigError> {
        let environment = match (given(&self.env).as_deref(), dev) {
            (None, true) | (Some("development"), _) => Environment::Development,
            (Some("production"), true) => return Err(ConfigError::DevInProduction),
            (None | Some("production"), false) => Environment::Production,
            (Some("test"), _) => Environment::Test,
            (Some(other), _) => return Err(ConfigError::Environment(other.to_owned())),
        };
        for (name, url) in [
            ("DATABASE_URL", &self.database_url),
            ("ORDAIN_MIGRATE_URL", &self.migrate_url),
        ] {
            let url = given(url);
            if let Some(Err(why)) = url.as_deref().map(crate::backends::postgres::check_url) {
                return Err(ConfigError::Url(name, why));
            }
        }
        let origin = match (given(&self.database_url), environment) {
            (Some(url), _) => OriginChoice::Postgres {
                url,
                migrate_url: given(&self.migrate_url),
            },
            (None, Environment::Production) => return Err(ConfigError::MemoryOrigin),
            (None, _) => OriginChoice::Memory,
        };
        let listen = Listen::parse(&self.listen)?;
        match listen {
            Listen::Tcp(address) if dev && !address.ip().to_canonical().is_loopback() => {
                return Err(ConfigError::DevReachable(address));
            }
            _ => {}
        }
        Ok(Settings {
            options: self.options(origin)?,
            listen,
            environment,
            dev,
            access: self.access.checked()?,
            file: self.config_file.clone(),
        })
    }

    fn deployment_default(&self) -> Result<Option<(String, String)>, ConfigError> {
        const PROVIDER: &str = "ORDAIN_DEFAULT_PROVIDER";
        const MODEL: &str = "ORDAIN_DEFAULT_MODEL";
        match (given(&self.default_provider), given(&self.default_model)) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(ConfigError::HalfDefault(PROVIDER, MODEL)),
            (None, Some(_)) => Err(ConfigError::HalfDefault(MODEL, PROVIDER)),
            (Some(provider), _) if !is_id(&provider) => Err(ConfigError::Id(PROVIDER)),
            (_, Some(model)) if !is_id(&model) => Err(ConfigError::Id(MODEL)),
            (Some(provider), Some(model)) => Ok(Some((provider, model))),
        }
    }
}

pub(super) fn given(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

impl Settings {
    /// Every setting under the name of its variable, secrets masked.
    pub fn shown(&self) -> Vec<(&'static str, Option<String>)> {
        let options = &self.options;
        let time = |duration| {
            Some(
                humantime::format_duration(duration)
                    .to_string()
                    .replace(' ', ""),
            )
        };
        let switch = |on| Some(if on { "on" } else { "off" }.to_owned());
        let path = |path: &PathBuf| Some(path.display().to_string());
        let (database, migrate) = match &options.origin {
            OriginChoice::Memory => (None, None),
            OriginChoice::Postgres { url, migrate_url } => (
                Some(masked_url(url)),
                migrate_url.as_deref().map(masked_url),
            ),
        };
        let (provider, model) = options.deployment_default.clone().unzip();
        let mode = serde_json::to_value(options.base_egress).ok();
        vec![
            ("ORDAIN_CONFIG", self.file.as_ref().and_then(path)),
            ("ORDAIN_LISTEN", Some(self.listen.to_string())),
            (
                "ORDAIN_ENV",
                Some(format!("{:?}", self.environment).to_lowercase()),
            ),
            ("ORDAIN_COMPONENT", path(&options.component)),
            ("ORDAIN_WATCH", switch(options.components.reload)),
            (
                "ORDAIN_INSTANCES",
                Some(match options.instances {
                    InstanceMode::Warm => "warm".to_owned(),
                    InstanceMode::Fresh => "fresh".to_owned(),
                }),
            ),
            (
                "ORDAIN_COMPONENT_SIGNATURE",
                Some(match options.components.signature {
                    SignatureMode::Optional => "optional".to_owned(),
                    SignatureMode::Required => "required".to_owned(),
                }),
            ),
            (
                "ORDAIN_COMPONENT_KEYS",
                Some(options.components.keys.join(",")).filter(|keys| !keys.is_empty()),
            ),
            (
                "ORDAIN_COMPONENT_VECTORS",
                options.components.vectors.as_ref().and_then(path),
            ),
            (
                "ORDAIN_COMPONENT_CACHE",
                match &options.components.cache {
                    Some(folder) => path(folder),
                    None => Some("off".to_owned()),
                },
            ),
            (
                "ORDAIN_COMPONENT_WATCH_TIME",
                time(options.components.watch),
            ),
            (
                "ORDAIN_COMPONENT_MAX_FAULTS",
                Some(options.components.faults.to_string()),
            ),
            ("DATABASE_URL", database),
            ("ORDAIN_MIGRATE_URL", migrate),
            ("REDIS_URL", options.redis_url.as_deref().map(masked_url)),
            ("ORDAIN_REDIS_CA", options.redis_ca.as_ref().and_then(path)),
            (
                "ORDAIN_EGRESS_MODE",
                mode.and_then(|mode| mode.as_str().map(str::to_owned)),
            ),
            (
                "ORDAIN_LOCAL_PROVIDERS",
                Some(options.local_providers.join(",")),
            ),
            ("ORDAIN_DEFAULT_PROVIDER", provider),
            ("ORDAIN_DEFAULT_MODEL", model),
            ("ORDAIN_BOUND", time(options.bound)),
            ("ORDAIN_STALE_LIMIT", time(options.stale_limit)),
            ("ORDAIN_MIN_REVISION_WAIT", time(options.min_revision_wait)),
            ("ORDAIN_FEED_DEADLINE", time(options.feed_deadline)),
            ("ORDAIN_WINDOW", Some(options.window.to_string())),
            ("ORDAIN_NEAR_BYTES", Some(options.near_bytes.to_string())),
            ("ORDAIN_FAR_TTL", time(options.far_ttl)),
            (
                "ORDAIN_FAR_KEY",
                (!options.far_keys.is_empty()).then(|| "***".to_owned()),
            ),
            ("ORDAIN_FAR_DEADLINE", time(options.far_deadline)),
            ("ORDAIN_ORIGIN_DEADLINE", time(options.origin_deadline)),
            (
                "ORDAIN_ORIGIN_CONNECTIONS",
                Some(options.origin_connections.to_string()),
            ),
            ("ORDAIN_REQUEST_DEADLINE", time(options.request_deadline)),
            ("ORDAIN_AUDIT_INTERVAL", time(options.audit_interval)),
            ("ORDAIN_CACHE", switch(options.switches.all)),
            ("ORDAIN_CACHE_POLICY", switch(options.switches.policy)),
            ("ORDAIN_CACHE_CONFIG", switch(options.switches.config)),
            ("ORDAIN_CACHE_NEAR", switch(options.switches.near)),
            ("ORDAIN_CACHE_FAR", switch(options.switches.far)),
        ]
        .into_iter()
        .chain(self.access.shown())
        .collect()
    }
}
