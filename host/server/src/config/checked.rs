//! The checked form of a [`Config`]: what `serve` and the library work with. Every guard of DESIGN
//! section 7 is here.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::access::AccessSettings;
use super::error::{ConfigError, FAR_KEY_MIN, Faults};
use super::listen::Listen;
use super::values::{given, given_secret, given_url, list};
use ordain::options::{
    ComponentOptions, FEED_INTERVAL, InstanceMode, Options, OriginChoice, SignatureMode, Switches,
    default_compiled_cache, default_component,
};
use ordain::runtime::signature;
use ordain_store::ids::is_id;
use ordain_store::secret::{MASK, Secret, SecretUrl, misplaced};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Production,
    Development,
    Test,
}

/// How connections are taken and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgeSettings {
    pub drain: Duration,
    pub idle: Duration,
    /// `None`: as many as there is room for.
    pub connections: Option<u32>,
}

/// A configuration that can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub options: Options,
    pub listen: Listen,
    pub edge: EdgeSettings,
    pub environment: Environment,
    pub dev: bool,
    pub access: AccessSettings,
    /// The file that was named.
    pub file: Option<PathBuf>,
}

/// All that can be made of a configuration, and all that is wrong with it.
pub struct Draft {
    options: Options,
    listen: Option<Listen>,
    edge: EdgeSettings,
    environment: Option<Environment>,
    dev: bool,
    access: AccessSettings,
    file: Option<PathBuf>,
    faults: Faults,
}

impl Config {
    /// What the library needs, for a command that has found its database.
    pub fn options(&self, origin: OriginChoice) -> Result<Options, ConfigError> {
        let mut faults = Faults::default();
        let options = self.noted_options(origin, &mut faults);
        faults.unless(Some(options))
    }

    fn noted_options(&self, origin: OriginChoice, faults: &mut Faults) -> Options {
        let mut options = Options {
            component: self
                .component
                .clone()
                .filter(|path| !path.as_os_str().is_empty())
                .unwrap_or_else(default_component),
            components: self.components(faults),
            instances: self.instances,
            origin,
            redis_url: given_url(&self.redis_url),
            redis_ca: self
                .redis_ca
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            base_egress: self.egress_mode,
            local_providers: list(&self.local_providers),
            deployment_default: faults.note(self.deployment_default()).flatten(),
            bound: self.bound,
            stale_limit: self.stale_limit,
            min_revision_wait: self.min_revision_wait,
            feed_deadline: self.feed_deadline,
            window: self.window,
            near_bytes: self.near_bytes,
            far_ttl: self.far_ttl,
            far_keys: list(
                self.far_key
                    .as_ref()
                    .map(Secret::reveal)
                    .unwrap_or_default(),
            )
            .into_iter()
            .map(Secret::from)
            .collect(),
            far_deadline: self.far_deadline,
            origin_deadline: self.origin_deadline,
            schema: self.schema.clone(),
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
                faults.push(ConfigError::Zero(name));
            }
        }
        // Rules F3 and D1: a host that is in order must be able to prove itself within the bound.
        if options.bound <= FEED_INTERVAL + options.feed_deadline {
            let deadline = humantime::format_duration(options.feed_deadline).to_string();
            faults.push(ConfigError::Bound(deadline));
        }
        if let Some(url) = &options.redis_url
            && let Err(why) = ordain_store::redis::check_url(url.reveal())
        {
            faults.push(ConfigError::Url("REDIS_URL", why));
        }
        if let Some(number) = options.local_providers.iter().position(|id| !is_id(id)) {
            faults.push(ConfigError::LocalProvider(number + 1));
            options.local_providers.clear();
        }
        let short = |key: &Secret| key.reveal().len() < FAR_KEY_MIN;
        let number = match options.far_keys.is_empty() && given_secret(&self.far_key).is_some() {
            // Commas alone: whoever wrote them wants a seal.
            true => Some(0),
            false => options.far_keys.iter().position(short),
        };
        if let Some(number) = number {
            faults.push(ConfigError::FarKey(number + 1));
        }
        options
    }

    fn components(&self, faults: &mut Faults) -> ComponentOptions {
        let path = |path: &Option<PathBuf>| path.clone().filter(|p| !p.as_os_str().is_empty());
        let mut keys = list(self.component_keys.as_deref().unwrap_or_default());
        if let Some(number) = keys.iter().position(|text| signature::key(text).is_none()) {
            faults.push(ConfigError::Key(number + 1));
            keys.clear();
        } else if keys.is_empty() && self.component_signature == SignatureMode::Required {
            faults.push(ConfigError::NoKeys);
        }
        ComponentOptions {
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
        }
    }

    /// What `serve` needs.
    pub fn settings(&self, dev: bool) -> Result<Settings, ConfigError> {
        self.draft(dev).settings()
    }

    /// The same, with what is wrong beside the rest.
    pub fn draft(&self, dev: bool) -> Draft {
        let mut faults = Faults::default();
        let environment = faults.note(self.environment(dev));
        for (name, url) in [
            ("DATABASE_URL", &self.database_url),
            ("ORDAIN_MIGRATE_URL", &self.migrate_url),
        ] {
            let url = given_url(url);
            let checked = url.map(|url| ordain_store::postgres::check_url(url.reveal()));
            if let Some(Err(why)) = checked {
                faults.push(ConfigError::Url(name, why));
            }
        }
        let origin = match (given_url(&self.database_url), environment) {
            (Some(url), _) => OriginChoice::Postgres {
                url,
                migrate_url: given_url(&self.migrate_url),
            },
            (None, Some(Environment::Production)) => {
                faults.push(ConfigError::MemoryOrigin);
                OriginChoice::Memory
            }
            (None, _) => OriginChoice::Memory,
        };
        let listen = faults.note(Listen::parse(&self.listen));
        match listen {
            Some(Listen::Tcp(address)) if dev && !address.ip().to_canonical().is_loopback() => {
                faults.push(ConfigError::DevReachable(address));
            }
            _ => {}
        }
        let options = self.noted_options(origin, &mut faults);
        if self.idle_timeout.is_zero() {
            faults.push(ConfigError::Zero("ORDAIN_IDLE_TIMEOUT"));
        }
        let edge = EdgeSettings {
            drain: self.drain,
            idle: self.idle_timeout,
            connections: self.max_connections,
        };
        let access = self.access.checked(&mut faults);
        Draft {
            options,
            listen,
            edge,
            environment,
            dev,
            access,
            file: self.config_file.clone(),
            faults,
        }
    }

    fn environment(&self, dev: bool) -> Result<Environment, ConfigError> {
        match (given(&self.env).as_deref(), dev) {
            (None, true) | (Some("development"), _) => Ok(Environment::Development),
            (Some("production"), true) => Err(ConfigError::DevInProduction),
            (None | Some("production"), false) => Ok(Environment::Production),
            (Some("test"), _) => Ok(Environment::Test),
            (Some(other), _) => Err(ConfigError::Environment(misplaced(other))),
        }
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

impl Draft {
    /// Something else is wrong.
    pub fn refuse(&mut self, fault: ConfigError) {
        self.faults.push(fault);
    }

    /// A configuration that can work.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let settings = self.listen.zip(self.environment);
        let settings = settings.map(|(listen, environment)| Settings {
            options: self.options,
            listen,
            edge: self.edge,
            environment,
            dev: self.dev,
            access: self.access,
            file: self.file,
        });
        self.faults.unless(settings)
    }

    /// Every setting under the name of its variable, secrets masked; none where a value cannot be
    /// read.
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
                Some(url.to_string()),
                migrate_url.as_ref().map(SecretUrl::to_string),
            ),
        };
        let (provider, model) = options.deployment_default.clone().unzip();
        let mode = serde_json::to_value(options.base_egress).ok();
        vec![
            ("ORDAIN_CONFIG", self.file.as_ref().and_then(path)),
            ("ORDAIN_LISTEN", self.listen.as_ref().map(Listen::to_string)),
            (
                "ORDAIN_ENV",
                self.environment
                    .map(|environment| format!("{environment:?}").to_lowercase()),
            ),
            ("ORDAIN_DRAIN", time(self.edge.drain)),
            ("ORDAIN_IDLE_TIMEOUT", time(self.edge.idle)),
            (
                "ORDAIN_MAX_CONNECTIONS",
                self.edge.connections.map(|number| number.to_string()),
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
            ("ORDAIN_SCHEMA", Some(options.schema.to_string())),
            (
                "REDIS_URL",
                options.redis_url.as_ref().map(SecretUrl::to_string),
            ),
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
                (!options.far_keys.is_empty()).then(|| MASK.to_owned()),
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
