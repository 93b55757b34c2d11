//! What tokens are checked by: flags, variables and their checked form, in which no secret can be printed.
//! Not for how tokens are checked (`access`).

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use super::ConfigError;
use super::checked::{given, given_secret};
use crate::access::{Access, Configured, JwksError, Key, KeyError, Rules, Verifier};
use crate::secret::Secret;

const SECRET: &str = "ORDAIN_JWT_HS256_SECRET";
const PUBLIC: &str = "ORDAIN_JWT_PUBLIC_KEY";

/// Keys that tokens are checked by
#[derive(Clone, Default, Args)]
pub struct AccessConfig {
    /// Secret of at least 32 bytes that HS256 tokens are checked by
    #[arg(long, env = "ORDAIN_JWT_HS256_SECRET", value_name = "SECRET")]
    pub jwt_hs256_secret: Option<Secret>,

    /// Public key in PEM that tokens are checked by: RSA (RS256), EC P-256 (ES256) or Ed25519 (EdDSA)
    #[arg(long, env = "ORDAIN_JWT_PUBLIC_KEY", value_name = "PEM")]
    pub jwt_public_key: Option<String>,

    /// File of keys that tokens are checked by (JWKS); read again when it changes
    #[arg(long, env = "ORDAIN_JWKS_FILE", value_name = "FILE")]
    pub jwks_file: Option<PathBuf>,

    /// Issuer (iss) that tokens must name [default: any]
    #[arg(long, env = "ORDAIN_JWT_ISSUER", value_name = "NAME")]
    pub jwt_issuer: Option<String>,

    /// Audience (aud) that tokens must be for [default: any]
    #[arg(long, env = "ORDAIN_JWT_AUDIENCE", value_name = "NAME")]
    pub jwt_audience: Option<String>,
}

/// Values that can work. Files are read at the start.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccessSettings {
    secret: Option<Secret>,
    public_key: Option<String>,
    file: Option<PathBuf>,
    rules: Rules,
}

impl fmt::Debug for AccessSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

/// Why the service does not start with these keys, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(
        "no key to check tokens by: set ORDAIN_JWKS_FILE, ORDAIN_JWT_PUBLIC_KEY or \
         ORDAIN_JWT_HS256_SECRET, or --dev for development"
    )]
    NoKey,
    #[error("ORDAIN_JWKS_FILE: {} {why}", path.display())]
    File { path: PathBuf, why: JwksError },
    #[error("ORDAIN_JWKS_FILE: {} has no key that tokens can be checked by", .0.display())]
    Empty(PathBuf),
    #[error("{0}")]
    Key(ConfigError),
}

impl AccessConfig {
    pub fn checked(&self) -> Result<AccessSettings, ConfigError> {
        let settings = AccessSettings {
            secret: given_secret(&self.jwt_hs256_secret),
            public_key: given(&self.jwt_public_key),
            file: self
                .jwks_file
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            rules: Rules {
                issuer: given(&self.jwt_issuer),
                audience: given(&self.jwt_audience),
            },
        };
        settings.keys().map(|_| settings)
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
        if keys.is_empty() && self.file.is_none() {
            return Err(AccessError::NoKey);
        }
        let configured = Configured {
            keys,
            file: self.file.clone(),
            rules: self.rules.clone(),
        };
        let path = || self.file.clone().unwrap_or_default();
        let refused = |why| AccessError::File { path: path(), why };
        let verifier = Verifier::new(configured).map_err(refused)?;
        if verifier.keys() == 0 {
            return Err(AccessError::Empty(path()));
        }
        Ok(Access::Tokens(verifier.into()))
    }

    /// Whoever signs may sign for others, too, and nothing tells their tokens from ours.
    pub fn is_for_anybody(&self) -> bool {
        self.rules.audience.is_none() && (self.public_key.is_some() || self.file.is_some())
    }

    /// Every setting under the name of its variable, the secret masked.
    pub fn shown(&self) -> [(&'static str, Option<String>); 5] {
        let one_line = |pem: &String| pem.trim().replace('\n', "\\n");
        let file = self.file.as_ref().map(|path| path.display().to_string());
        [
            (SECRET, self.secret.as_ref().map(Secret::to_string)),
            (PUBLIC, self.public_key.as_ref().map(one_line)),
            ("ORDAIN_JWKS_FILE", file),
            ("ORDAIN_JWT_ISSUER", self.rules.issuer.clone()),
            ("ORDAIN_JWT_AUDIENCE", self.rules.audience.clone()),
        ]
    }
}
