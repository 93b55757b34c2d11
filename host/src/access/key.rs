//! One key and the one algorithm that it is for: the kind of the key decides, never a token. Not for
//! which key checks a token (`keys`).

use std::fmt;

use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};

use super::der;

/// Shortest secret, in bytes: shorter ones can be guessed (RFC 7518 3.2).
pub const SECRET_MIN: usize = 32;
/// Sizes of RSA keys, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why something is no key to check tokens by. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a secret has at least {SECRET_MIN} bytes: openssl rand -base64 48")]
    Short,
    #[error("the secret is a PEM text: a public key is no secret, set ORDAIN_JWT_PUBLIC_KEY")]
    PemSecret,
    #[error("holds a private key: give the public one, openssl pkey -in KEY -pubout")]
    Private,
    #[error("not one PUBLIC KEY in PEM: openssl pkey -in KEY -pubout")]
    Pem,
    #[error("not a key of RSA, EC P-256 or Ed25519")]
    Kind,
    #[error("RSA keys have {} to {} bits", RSA_BITS.start(), RSA_BITS.end())]
    RsaSize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    /// Letters count: `none`, `NONE` and `hs256` are nothing.
    pub fn of(name: &str) -> Option<Algorithm> {
        use Algorithm::{EdDsa, Es256, Hs256, Rs256};
        [Hs256, Rs256, Es256, EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

#[derive(Clone)]
pub(super) enum Material {
    Secret(hmac::Key),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that tokens are checked by.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    pub(super) material: Material,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.algorithm().name())
    }
}

impl Material {
    pub(super) fn secret(bytes: &[u8]) -> Result<Material, KeyError> {
        if bytes.len() < SECRET_MIN {
            return Err(KeyError::Short);
        }
        if bytes.windows(10).any(|part| part == b"-----BEGIN") {
            return Err(KeyError::PemSecret);
        }
        Ok(Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Modulus and exponent, most significant byte first.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Material, KeyError> {
        let stripped = |number: &[u8]| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            number[zeros..].to_vec()
        };
        let (n, e) = (stripped(n), stripped(e));
        let top = n.first().map_or(8, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&(n.len() * 8).saturating_sub(top)) {
            return Err(KeyError::RsaSize);
        }
        // With 1 as the exponent whatever is padded right is its own signature.
        let is_exponent = matches!(*e, [.., last] if last & 1 == 1) && *e != [1] && e.len() <= 4;
        if !is_exponent {
            return Err(KeyError::Kind);
        }
        Ok(Material::Rsa { n, e })
    }

    pub(super) fn p256(point: &[u8]) -> Result<Material, KeyError> {
        match point {
            [4, rest @ ..] if rest.len() == 64 => Ok(Material::P256(point.to_vec())),
            _ => Err(KeyError::Kind),
        }
    }

    pub(super) fn ed25519(key: &[u8]) -> Result<Material, KeyError> {
        match key.len() {
            32 => Ok(Material::Ed25519(key.to_vec())),
            _ => Err(KeyError::Kind),
        }
    }
}

impl Key {
    pub fn secret(bytes: &[u8]) -> Result<Key, KeyError> {
        Material::secret(bytes).map(Key::of)
    }

    /// A public key in PEM; line breaks may be written `\n`, as variables often have them.
    pub fn public(pem: &str) -> Result<Key, KeyError> {
        let pem = pem.replace("\\n", "\n");
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).collect();
        let sections = sections.map_err(|_| KeyError::Pem)?;
        let is_private = |kind: &SectionKind| {
            matches!(
                kind,
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
            )
        };
        if sections.iter().any(|(kind, _)| is_private(kind)) {
            return Err(KeyError::Private);
        }
        match sections.as_slice() {
            [(SectionKind::PublicKey, der)] => der::public_key(der).map(Key::of),
            _ => Err(KeyError::Pem),
        }
    }

    fn of(material: Material) -> Key {
        Key { id: None, material }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature),
            Material::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}
