//! A file of keys (RFC 7517, `{"keys":[...]}`), read strictly: what is not for checking tokens is left
//! out, what is wrong or secret in the wrong place refuses the file. Not for when it is read (`verifier`).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::key::{Algorithm, Key, KeyError, Material};

/// Largest file.
const LIMIT: u64 = 1 << 20;
/// Keys of one file.
const KEYS_MAX: usize = 100;

/// Why a file is not taken. Holds nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("cannot be read: {0}")]
    Read(String),
    #[error("is larger than {} MiB", LIMIT >> 20)]
    Large,
    #[error("is not {{\"keys\":[...]}}, or a member comes twice")]
    Form,
    #[error("has more than {KEYS_MAX} keys")]
    Many,
    #[error("key {0}: {1}")]
    Key(usize, KeyError),
    #[error("key {0}: {1} is missing or not of its type")]
    Member(usize, &'static str),
    #[error("key {0} has the kid of an earlier one")]
    Twice(usize),
    #[error(
        "key {0}: holds a private key: leave out d and what goes with it, the public part is enough"
    )]
    Private(usize),
    #[error("holds a secret (oct) and has mode {0:04o}: others can read it, chmod 600 it")]
    Open(u32),
    #[error("has mode {0:04o}: everybody can write into it and so sign tokens, chmod go-w it")]
    Writable(u32),
}

/// The content of a file and its mode.
pub struct Content {
    bytes: Vec<u8>,
    mode: u32,
}

impl Content {
    pub fn read(path: &Path) -> Result<Content, JwksError> {
        let failed = |error: std::io::Error| JwksError::Read(error.to_string());
        // A pipe would be waited for.
        let is_file = std::fs::metadata(path).map_err(failed)?.is_file();
        if !is_file {
            return Err(JwksError::Read("it is no file".to_owned()));
        }
        // The open file is asked: it cannot be another one by then.
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > LIMIT {
            return Err(JwksError::Large);
        }
        let mode = metadata.mode() & 0o7777;
        Ok(Content { bytes, mode })
    }

    /// What tells it from another.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.mode.to_le_bytes()).update(&self.bytes);
        hasher.finalize().into()
    }

    pub fn keys(&self) -> Result<Vec<Key>, JwksError> {
        // Whoever can add a key to it can sign as anybody.
        if self.mode & 0o002 != 0 {
            return Err(JwksError::Writable(self.mode));
        }
        let whole = json::object(&self.bytes).ok_or(JwksError::Form)?;
        let list = whole.get("keys").and_then(Value::as_array);
        let list = list.ok_or(JwksError::Form)?;
        if list.len() > KEYS_MAX {
            return Err(JwksError::Many);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (number, item) in (1..).zip(list) {
            let members = item.as_object().ok_or(JwksError::Form)?;
            let jwk = Jwk { number, members };
            let Some(key) = jwk.read()? else { continue };
            if matches!(key.material, Material::Secret(_)) && self.mode & 0o077 != 0 {
                return Err(JwksError::Open(self.mode));
            }
            if key.id.is_some() && keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(JwksError::Twice(number));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

/// One key of the file, by its place from 1 on.
struct Jwk<'a> {
    number: usize,
    members: &'a Map<String, Value>,
}

impl Jwk<'_> {
    /// `None`: it is for something else.
    fn read(&self) -> Result<Option<Key>, JwksError> {
        let kind = self
            .text("kty")?
            .ok_or(JwksError::Member(self.number, "kty"))?;
        if kind != "oct" && self.members.contains_key("d") {
            return Err(JwksError::Private(self.number));
        }
        let id = self.text("kid")?.map(str::to_owned);
        if self.text("use")?.is_some_and(|usage| usage != "sig") {
            return Ok(self.skipped("its use is not sig"));
        }
        if let Some(operations) = self.members.get("key_ops") {
            let list = operations.as_array();
            let list = list.ok_or(JwksError::Member(self.number, "key_ops"))?;
            if !list.iter().any(|operation| operation == "verify") {
                return Ok(self.skipped("its key_ops are not for checking"));
            }
        }
        let curve = self.text("crv")?;
        let algorithm = match (kind, curve) {
            ("oct", _) => Algorithm::Hs256,
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            _ => return Ok(self.skipped("its kind is not known")),
        };
        if self.text("alg")?.is_some_and(|alg| alg != algorithm.name()) {
            return Ok(self.skipped("its alg is not one that is taken for its kind"));
        }
        let material = match algorithm {
            Algorithm::Hs256 => Material::secret(&self.bytes("k")?),
            Algorithm::Rs256 => Material::rsa(&self.bytes("n")?, &self.bytes("e")?),
            Algorithm::Es256 => {
                let (x, y) = (self.bytes("x")?, self.bytes("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(JwksError::Member(self.number, "x or y"));
                }
                Material::p256(&[&[4][..], &x, &y].concat())
            }
            Algorithm::EdDsa => Material::ed25519(&self.bytes("x")?),
        };
        let material = material.map_err(|error| JwksError::Key(self.number, error))?;
        Ok(Some(Key { id, material }))
    }

    fn skipped(&self, why: &str) -> Option<Key> {
        tracing::warn!(
            key = self.number,
            "a key of ORDAIN_JWKS_FILE is left out: {why}"
        );
        None
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, JwksError> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(JwksError::Member(self.number, name)),
        }
    }

    fn bytes(&self, name: &'static str) -> Result<Vec<u8>, JwksError> {
        let text = self.text(name)?.unwrap_or_default();
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(JwksError::Member(self.number, name)),
        }
    }
}
