//! `ordain token`: makes a token for development. In production an identity provider makes them;
//! whoever has the key can be anybody. Not for what a token must say (`access`).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::output;
use super::reply::Failure;
use crate::access::{Role, Signer, Wish};
use crate::config::{ClaimsConfig, duration};
use ordain_store::ids::Tenant;
use ordain_store::secret::Secret;

/// Largest file of a key.
const KEY_LIMIT: u64 = 64 << 10;

/// Make a token for development, signed with ORDAIN_JWT_HS256_SECRET or a private key
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  export ORDAIN_JWT_HS256_SECRET=$(openssl rand -base64 48)     for the server, too
  export ORDAIN_TOKEN=$(ordain token --sub me --role admin)
  ordain token --sub ann --role editor --tenant acme --ttl 8h
  ordain token --sub gateway --role resolver --tenants acme,clinic
  ordain token --sub me --role admin --key private.pem --kid 2026-01")]
pub struct Token {
    /// Who it is for; the history calls them so
    #[arg(long, value_name = "NAME")]
    sub: String,

    /// reader, editor, resolver, metrics or admin
    #[arg(long, value_parser = role, value_name = "ROLE")]
    role: Role,

    /// The tenant of a reader or an editor
    #[arg(long, value_parser = tenant, value_name = "ID")]
    tenant: Option<String>,

    /// Tenants that a resolver may ask for, comma separated [default: all]
    #[arg(long, value_name = "IDS")]
    tenants: Option<String>,

    /// How long it holds, at least 1s
    #[arg(long, default_value = "1h", value_parser = lifetime, value_name = "DURATION")]
    ttl: Duration,

    /// What iss says
    #[arg(long, env = "ORDAIN_JWT_ISSUER", value_name = "NAME")]
    issuer: Option<String>,

    /// What aud says
    #[arg(long, env = "ORDAIN_JWT_AUDIENCE", value_name = "NAME")]
    audience: Option<String>,

    /// Name of the key, as a JWKS file has it
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,

    /// Private key in PEM to sign with: RSA, EC P-256, EC P-384 or Ed25519; not readable by
    /// everybody
    #[arg(long, value_name = "FILE")]
    key: Option<String>,

    /// Secret to sign with, without a key file
    #[arg(long, env = "ORDAIN_JWT_HS256_SECRET", value_name = "SECRET")]
    jwt_hs256_secret: Option<Secret>,

    #[command(flatten)]
    claims: ClaimsConfig,
}

impl Token {
    pub fn run(&self, json: bool) -> Result<(), Failure> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let secret = self.jwt_hs256_secret.as_ref();
        let signer = match (given(&self.key), secret.filter(|text| !text.is_empty())) {
            (Some(file), _) => {
                let pem = private(&file)?;
                Signer::pem(&pem).map_err(|error| Failure::new(format!("{file}: {error}")))?
            }
            (None, Some(secret)) => Signer::secret(secret.reveal().as_bytes())
                .map_err(|error| Failure::Usage(format!("ORDAIN_JWT_HS256_SECRET: {error}")))?,
            (None, None) => {
                return Err(Failure::Usage(
                    "no key to sign with: set ORDAIN_JWT_HS256_SECRET, or give --key FILE"
                        .to_owned(),
                ));
            }
        };
        let (names, roles) = self.claims.checked().map_err(Failure::usage)?;
        let wish = Wish {
            sub: self.sub.clone(),
            role: self.role,
            tenant: self.tenant.clone(),
            tenants: self.tenants.as_deref().map(ids).transpose()?,
            ttl: self.ttl,
            issuer: given(&self.issuer),
            audience: given(&self.audience),
            kid: given(&self.kid),
            names,
            roles,
            lifetime: self.claims.jwt_max_lifetime,
        };
        let token = signer.mint(&wish, SystemTime::now());
        let token = token.map_err(|error| Failure::Usage(error.to_string()))?;
        match json {
            true => output::line(&serde_json::json!({"token": token}).to_string()),
            false => output::line(&token),
        }
    }
}

/// Tokens count in seconds: one that holds for less has expired when it is made.
fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time < Duration::from_secs(1) => {
            Err("a token that holds for less than 1s has expired when it is made".to_owned())
        }
        time => Ok(time),
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::of(text)
        .ok_or_else(|| format!("a role is one of {}", Role::ALL.map(Role::name).join(", ")))
}

fn tenant(text: &str) -> Result<String, String> {
    Tenant::new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn ids(list: &str) -> Result<Vec<String>, Failure> {
    let ids = list.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(tenant)
        .collect::<Result<_, _>>()
        .map_err(Failure::Usage)
}

/// A file that not everybody can read: its owner and group may.
fn private(file: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{file} cannot be read: {error}"));
    let open = File::open(file).map_err(failed)?;
    let metadata = open.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o004 != 0 {
        return Err(Failure::new(format!(
            "{file} has mode {mode:04o}: everybody can read this private key; chmod 600 {file} (or 640)"
        )));
    }
    let mut pem = Vec::new();
    open.take(KEY_LIMIT).read_to_end(&mut pem).map_err(failed)?;
    Ok(pem)
}
