//! What tokens are checked by: flags, variables and their checked form, in which no secret can be
//! printed. Not for how tokens are checked (`access`).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ConfigError;
use super::claims::{ClaimsConfig, LIFETIME};
use super::error::Faults;
use super::values::{duration, given, given_secret, given_url};
use crate::access::{
    Access, Address, AddressError, Configured, JwksError, Key, KeyError, Remote, Rules, Source,
    Verifier,
};
use ordain_store::secret::{Secret, SecretUrl};

const SECRET: &str = "ORDAIN_JWT_HS256_SECRET";
const PUBLIC: &str = "ORDAIN_JWT_PUBLIC_KEY";
const URL: &str = "ORDAIN_JWKS_URL";
const ISSUER: &str = "ORDAIN_OIDC_ISSUER";

/// Keys that tokens are checked by
#[derive(Clone, Args)]
pub struct AccessConfig {
    /// Secret of at least 32 bytes that HS256 tokens are checked by
    #[arg(long, env = "ORDAIN_JWT_HS256_SECRET", value_name = "SECRET")]
    pub jwt_hs256_secret: Option<Secret>,

    /// Public key in PEM that tokens are checked by: RSA (RS256, RS384, RS512, PS256, PS384,
    /// PS512), EC P-256 (ES256), EC P-384 (ES384) or Ed25519 (EdDSA)
    #[arg(long, env = "ORDAIN_JWT_PUBLIC_KEY", value_name = "PEM")]
    pub jwt_public_key: Option<String>,

    /// File of keys that tokens are checked by (JWKS); read again when it changes. With a URL or an
    /// issuer: counts until these have answered for the first time
    #[arg(long, env = "ORDAIN_JWKS_FILE", value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,

    /// URL of the keys that tokens are checked by (JWKS), https beyond this machine
    #[arg(long, env = "ORDAIN_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<SecretUrl>,

    /// Issuer whose keys tokens are checked by, found by OpenID Connect discovery; tokens must name
    /// it (iss)
    #[arg(long, env = "ORDAIN_OIDC_ISSUER", value_name = "NAME")]
    pub oidc_issuer: Option<String>,

    /// How often the keys of the URL or the issuer are read again; a key that nobody knows has them
    /// read sooner
    #[arg(long, env = "ORDAIN_JWKS_INTERVAL", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub jwks_interval: Duration,

    /// Issuer (iss) that tokens must name [default: ORDAIN_OIDC_ISSUER, else any]
    #[arg(long, env = "ORDAIN_JWT_ISSUER", value_name = "NAME")]
    pub jwt_issuer: Option<String>,

    /// Audience (aud) that tokens must be for [default: any]
    #[arg(long, env = "ORDAIN_JWT_AUDIENCE", value_name = "NAME")]
    pub jwt_audience: Option<String>,

    #[command(flatten)]
    pub claims: ClaimsConfig,
}

/// Values that can work. Files and URLs are read at the start.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessSettings {
    secret: Option<Secret>,
    public_key: Option<String>,
    file: Option<PathBuf>,
    address: Option<Address>,
    every: Duration,
    rules: Rules,
    /// The map of roles as it is in force; `None`: every role by its own name.
    role_map: Option<String>,
}

impl fmt::Debug for AccessSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// Why the service does not start with these keys, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("ORDAIN_JWKS_FILE: {} {why}", path.display())]
    File { path: PathBuf, why: JwksError },
    #[error("{variable}: no connections can be made: {why}")]
    Url { variable: &'static str, why: String },
    #[error("{0}")]
    Key(ConfigError),
}

impl AccessConfig {
    /// What can be made of it.
    pub(super) fn checked(&self, faults: &mut Faults) -> AccessSettings {
        let address = faults.note(self.address()).flatten();
        let (names, roles) = faults.note(self.claims.checked()).unwrap_or_default();
        let role_map = given(&self.claims.jwt_role_map).map(|_| roles.to_string());
        let issuer = match (&address, given(&self.jwt_issuer)) {
            (Some(Address::Issuer(name, _)), Some(other)) if *name != other => {
                faults.push(ConfigError::TwoIssuers);
                None
            }
            (Some(Address::Issuer(name, _)), _) => Some(name.clone()),
            (_, issuer) => issuer,
        };
        if self.jwks_interval.is_zero() {
            faults.push(ConfigError::Zero("ORDAIN_JWKS_INTERVAL"));
        }
        let lifetime = self.claims.jwt_max_lifetime;
        if lifetime.is_some_and(|time| time < Duration::from_secs(1)) {
            faults.push(ConfigError::Short(LIFETIME));
        }
        let mut settings = AccessSettings {
            secret: given_secret(&self.jwt_hs256_secret),
            public_key: given(&self.jwt_public_key),
            file: self
                .jwks_file
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            address,
            every: self.jwks_interval,
            rules: Rules {
                issuer,
                audience: given(&self.jwt_audience),
                names,
                roles,
                lifetime: self.claims.jwt_max_lifetime,
            },
            role_map,
        };
        if faults.note(settings.keys()).is_none() {
            // What is no public key may be a secret one.
            settings.public_key = None;
        }
        settings
    }

    /// Whether it says who may sign, well or not.
    pub fn names_keys(&self) -> bool {
        given_secret(&self.jwt_hs256_secret).is_some()
            || given(&self.jwt_public_key).is_some()
            || self
                .jwks_file
                .as_ref()
                .is_some_and(|path| !path.as_os_str().is_empty())
            || given_url(&self.jwks_url).is_some()
            || given(&self.oidc_issuer).is_some()
    }

    fn address(&self) -> Result<Option<Address>, ConfigError> {
        let named = |name: &'static str| {
            move |why: AddressError| ConfigError::Url(name, format!("it {why}"))
        };
        match (given_url(&self.jwks_url), given(&self.oidc_issuer)) {
            (None, None) => Ok(None),
            (Some(url), None) => Address::keys(url.reveal()).map(Some).map_err(named(URL)),
            (None, Some(name)) => Address::issuer(&name).map(Some).map_err(named(ISSUER)),
            (Some(_), Some(_)) => Err(ConfigError::TwoSources),
        }
    }
}

impl AccessSettings {
    fn keys(&self) -> Result<Vec<Key>, ConfigError> {
        let named = |name| move |error: KeyError| ConfigError::AccessKey(name, error);
        let secret = self
            .secret
            .as_ref()
            .map(|secret| Key::secret(secret.reveal().as_bytes()));
        let public = self.public_key.as_deref().map(Key::public);
        let secret = secret.transpose().map_err(named(SECRET))?;
        let public = public.transpose().map_err(named(PUBLIC))?;
        Ok(secret.into_iter().chain(public).collect())
    }

    /// Reads the file. `dev`: no tokens are asked for, whatever is configured.
    pub fn start(&self, dev: bool) -> Result<Access, AccessError> {
        if dev {
            return Ok(Access::open());
        }
        let keys = self.keys().map_err(AccessError::Key)?;
        let source = self.source()?;
        if keys.is_empty() && matches!(source, Source::None) {
            return Err(AccessError::Key(ConfigError::NoKey));
        }
        let configured = Configured {
            keys,
            source,
            rules: self.rules.clone(),
        };
        let verifier = Verifier::new(configured).map_err(|why| AccessError::File {
            path: self.file.clone().unwrap_or_default(),
            why,
        })?;
        Ok(Access::Tokens(verifier.into()))
    }

    fn source(&self) -> Result<Source, AccessError> {
        let Some(address) = &self.address else {
            return Ok(self.file.clone().map_or(Source::None, Source::File));
        };
        let variable = address.variable();
        let remote = Remote::new(address.clone());
        Ok(Source::Url {
            remote: remote.map_err(|why| AccessError::Url { variable, why })?,
            every: self.every,
            fallback: self.file.clone(),
        })
    }

    /// Whoever signs may sign for others, too, and nothing tells their tokens from ours.
    pub fn is_for_anybody(&self) -> bool {
        let is_foreign = self.public_key.is_some() || self.file.is_some() || self.address.is_some();
        self.rules.audience.is_none() && is_foreign
    }

    /// Whether anything is said about who may sign.
    pub fn is_given(&self) -> bool {
        let is_foreign = self.public_key.is_some() || self.file.is_some() || self.address.is_some();
        let is_ruled = self.rules.issuer.is_some() || self.rules.audience.is_some();
        is_foreign || is_ruled || self.secret.is_some()
    }

    /// Every setting under the name of its variable, the secret masked.
    pub fn shown(&self) -> Vec<(&'static str, Option<String>)> {
        let one_line = |pem: &String| pem.trim().replace('\n', "\\n");
        let file = self.file.as_ref().map(|path| path.display().to_string());
        let address = |variable: &str| {
            let address = self.address.as_ref();
            let address = address.filter(|address| address.variable() == variable);
            address.map(Address::shown)
        };
        let time = |time: Duration| {
            humantime::format_duration(time)
                .to_string()
                .replace(' ', "")
        };
        let names = &self.rules.names;
        vec![
            (SECRET, self.secret.as_ref().map(Secret::to_string)),
            (PUBLIC, self.public_key.as_ref().map(one_line)),
            ("ORDAIN_JWKS_FILE", file),
            (URL, address(URL)),
            (ISSUER, address(ISSUER)),
            ("ORDAIN_JWKS_INTERVAL", Some(time(self.every))),
            ("ORDAIN_JWT_ISSUER", self.rules.issuer.clone()),
            ("ORDAIN_JWT_AUDIENCE", self.rules.audience.clone()),
            ("ORDAIN_JWT_ROLE_CLAIM", Some(names.role.clone())),
            ("ORDAIN_JWT_ROLE_MAP", self.role_map.clone()),
            ("ORDAIN_JWT_TENANT_CLAIM", Some(names.tenant.clone())),
            ("ORDAIN_JWT_TENANTS_CLAIM", Some(names.tenants.clone())),
            (LIFETIME, self.rules.lifetime.map(time)),
        ]
    }
}
