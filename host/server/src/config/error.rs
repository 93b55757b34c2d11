//! What can be wrong with a configuration, in words that say what to do, and the gathering of all
//! of it. Not for finding it (`checked`).

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::access::{KeyError, RoleMapError};

/// Fewest bytes of a key that seals far values.
pub const FAR_KEY_MIN: usize = 16;

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
    #[error("{0} must have 1 to 256 characters and no control characters")]
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
    #[error("{0} must not be zero: leave it out for its default, or set a time like 250ms")]
    Zero(&'static str),
    #[error("{0} must be at least 1s, for tokens count in seconds: leave it out for any time")]
    Short(&'static str),
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
    #[error(
        "key {0} of ORDAIN_FAR_KEY has fewer than {FAR_KEY_MIN} bytes, so it could be guessed: \
         openssl rand -hex 32 makes one"
    )]
    FarKey(usize),
    #[error(
        "name {0} of ORDAIN_LOCAL_PROVIDERS is no name of a provider: it must have 1 to 256 characters \
         and no control characters"
    )]
    LocalProvider(usize),
    #[error("ORDAIN_JWT_ROLE_MAP: {0}")]
    RoleMap(RoleMapError),
    #[error(
        "ORDAIN_JWKS_URL and ORDAIN_OIDC_ISSUER both say where keys are: leave one of them out \
         (ORDAIN_JWT_ISSUER says which issuer tokens must name)"
    )]
    TwoSources,
    #[error(
        "ORDAIN_JWT_ISSUER is not ORDAIN_OIDC_ISSUER, to the letter: leave ORDAIN_JWT_ISSUER out, tokens must \
         name the issuer whose keys they are checked by"
    )]
    TwoIssuers,
    #[error(
        "no key to check tokens by: set ORDAIN_JWKS_FILE, ORDAIN_JWKS_URL, ORDAIN_OIDC_ISSUER, \
         ORDAIN_JWT_PUBLIC_KEY or ORDAIN_JWT_HS256_SECRET, or --dev for development"
    )]
    NoKey,
    #[error("several things are wrong:{}", listed(.0))]
    Several(Vec<ConfigError>),
}

fn listed(faults: &[ConfigError]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {fault}");
        text
    })
}

/// All that is wrong, so that nobody has to start once for each.
#[derive(Default)]
pub(super) struct Faults(Vec<ConfigError>);

impl Faults {
    pub fn push(&mut self, fault: ConfigError) {
        self.0.push(fault);
    }

    /// The value, or none with the fault noted.
    pub fn note<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|fault| self.push(fault)).ok()
    }

    /// The value if it is there and nothing was noted.
    pub fn unless<T>(mut self, value: Option<T>) -> Result<T, ConfigError> {
        match (value, self.0.len()) {
            (Some(value), 0) => Ok(value),
            (_, 1) => Err(self.0.remove(0)),
            _ => Err(ConfigError::Several(self.0)),
        }
    }
}
