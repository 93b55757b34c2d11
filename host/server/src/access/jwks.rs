//! A set of keys (RFC 7517, `{"keys":[...]}`). Keys that cannot be used are left out, as section 5
//! asks for; what is no set, has nothing to check tokens by, or holds private keys is refused as a
//! whole. Not for where a set comes from (`keyfile`, `remote`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json;
use super::key::{Algorithm, Key};
use super::material::Material;
use ordain_store::utf8;

/// Largest set, in bytes.
pub const LIMIT: u64 = 1 << 20;
/// Keys of one set; those after them are left out.
const KEYS_MAX: usize = 100;
/// Members that only private keys have; `priv` is of newer kinds.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Why a set is not taken. Holds nothing of what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("cannot be read: {0}")]
    Read(String),
    #[error("is larger than {} MiB", LIMIT >> 20)]
    Large,
    #[error("is {0}")]
    Text(utf8::NoText),
    #[error("is not {{\"keys\":[...]}}")]
    Form,
    #[error("has no key that tokens can be checked by{0}")]
    Empty(LeftOut),
    #[error(
        "key {0}: holds a private key: leave out d and what goes with it, the public part is enough"
    )]
    Private(usize),
    #[error(
        "holds a secret (oct) and has mode {0:04o}: everybody can read it, chmod 640 it (or 600)"
    )]
    Open(u32),
    #[error("has mode {0:04o}: everybody can write into it and so sign tokens, chmod o-w it")]
    Writable(u32),
}

/// Who else may know what is in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nobody but who may read the file.
    File,
    /// Everybody: a secret there is none.
    Url,
}

/// Keys of a set that are not used, by their places from 1 on, with why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut(Vec<(usize, String)>);

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 10;
        for (number, why) in self.0.iter().take(SHOWN) {
            write!(f, "; key {number} is left out: {why}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl LeftOut {
    /// One line for all of them. `from`: where the set comes from.
    pub fn warn(&self, from: &str) {
        if !self.0.is_empty() {
            let number = self.0.len();
            tracing::warn!("{number} of the keys of {from} cannot be used{self}");
        }
    }
}

pub struct Set {
    pub keys: Vec<Key>,
    pub left_out: LeftOut,
    /// Whether there is a secret in it, used or not.
    pub is_secret: bool,
}

impl Set {
    pub fn read(text: &[u8], place: Place) -> Result<Set, JwksError> {
        #[derive(Deserialize)]
        struct Whole<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let text = utf8::read(text).map_err(JwksError::Text)?;
        let whole: Whole = serde_json::from_str(text).map_err(|_| JwksError::Form)?;
        let mut set = Set {
            keys: Vec::new(),
            left_out: LeftOut::default(),
            is_secret: false,
        };
        for (number, item) in (1..).zip(&whole.keys) {
            let text = item.get();
            // Also what is left out must not be public. Of members that come twice the last one is
            // seen here, and the key is left out below.
            let seen: Value = serde_json::from_str(text).unwrap_or_default();
            let has = |name: &str| seen.get(name).is_some_and(|value| !value.is_null());
            if seen["kty"] != "oct" && PRIVATE.iter().any(|name| has(name)) {
                return Err(JwksError::Private(number));
            }
            set.is_secret |= has("k");
            let jwk = json::object(text.as_bytes()).map(Jwk);
            let key = match jwk {
                None => Err("it is no object, or a member comes twice".to_owned()),
                Some(_) if set.keys.len() >= KEYS_MAX => {
                    Err(format!("there are {KEYS_MAX} before it"))
                }
                Some(jwk) => jwk.read(place),
            };
            match key {
                Ok(key) => set.keys.push(key),
                Err(why) => set.left_out.0.push((number, why)),
            }
        }
        match set.keys.is_empty() {
            true => Err(JwksError::Empty(set.left_out)),
            false => Ok(set),
        }
    }
}

/// One key, not looked at yet.
struct Jwk(Map<String, Value>);

impl Jwk {
    /// Or why it cannot be used; not with its values, which may be secret.
    fn read(&self, place: Place) -> Result<Key, String> {
        let kind = self.text("kty")?.ok_or("it has no kty")?;
        let id = self.text("kid")?.map(str::to_owned);
        if self.text("use")?.is_some_and(|usage| usage != "sig") {
            return Err("its use is not sig".to_owned());
        }
        match self.member("key_ops") {
            None => {}
            Some(Value::Array(list)) if list.iter().any(|operation| operation == "verify") => {}
            Some(_) => return Err("its key_ops are not for checking".to_owned()),
        }
        let only = match self.text("alg")? {
            None => None,
            Some(name) => Some(Algorithm::of(name).ok_or("its alg is not one that is taken")?),
        };
        let curve = self.text("crv")?;
        let material = match (kind, curve) {
            ("oct", _) if place == Place::Url => {
                return Err("it is a secret, and this place is public".to_owned());
            }
            ("oct", _) => Material::secret(&self.bytes("k")?),
            ("RSA", _) => Material::rsa(&self.bytes("n")?, &self.bytes("e")?),
            ("EC", Some("P-256")) => Material::ec(&self.point(32)?),
            ("EC", Some("P-384")) => Material::ec(&self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::ed25519(&self.bytes("x")?),
            _ => return Err("its kind is not known".to_owned()),
        };
        let material = material.map_err(|error| error.to_string())?;
        let key = Key { id, only, material };
        match only {
            Some(only) if !key.allows(only) => {
                Err("its alg is not one that is taken for its kind".to_owned())
            }
            _ => Ok(key),
        }
    }

    /// null is as good as nothing.
    fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.member(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is not a string")),
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        let text = self
            .text(name)?
            .ok_or_else(|| format!("{name} is missing"))?;
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(format!("{name} is not base64url without padding")),
        }
    }

    fn point(&self, length: usize) -> Result<Vec<u8>, String> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        if x.len() != length || y.len() != length {
            return Err(format!("x or y does not have {length} bytes"));
        }
        Ok([&[4][..], &x, &y].concat())
    }
}
