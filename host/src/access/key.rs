//! One key and the algorithms that it is for: the kind of the key decides, never a token. Not for
//! which key checks a token (`keys`).

use std::fmt;

use ring::agreement::{self, EphemeralPrivateKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
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
    #[error("not a key of RSA, EC P-256, EC P-384 or Ed25519")]
    Kind,
    #[error("RSA keys have {} to {} bits", RSA_BITS.start(), RSA_BITS.end())]
    RsaSize,
}

/// What tokens are signed with (RFC 7518 3.1, RFC 8037). ECDSA goes with the hash of its curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

use Algorithm::{EdDsa, Es256, Es384, Hs256, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

impl Algorithm {
    const ALL: [Algorithm; 10] = [
        Hs256, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, Es256, Es384, EdDsa,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Hs256 => "HS256",
            Rs256 => "RS256",
            Rs384 => "RS384",
            Rs512 => "RS512",
            Ps256 => "PS256",
            Ps384 => "PS384",
            Ps512 => "PS512",
            Es256 => "ES256",
            Es384 => "ES384",
            EdDsa => "EdDSA",
        }
    }

    /// Letters count: `none`, `NONE` and `hs256` are nothing.
    pub fn of(name: &str) -> Option<Algorithm> {
        // What RFC 9864 calls EdDSA with a key of Ed25519.
        if name == "Ed25519" {
            return Some(EdDsa);
        }
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// How it is with RSA.
    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Hs256 | Es256 | Es384 | EdDsa => None,
        }
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
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that tokens are checked by.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    /// The one algorithm that it says it is for; `None`: any of its kind.
    pub(super) only: Option<Algorithm>,
    pub(super) material: Material,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.material {
            Material::Secret(_) => "Key(secret)",
            Material::Rsa { .. } => "Key(RSA)",
            Material::P256(_) => "Key(P-256)",
            Material::P384(_) => "Key(P-384)",
            Material::Ed25519(_) => "Key(Ed25519)",
        })
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
        // A product of two primes that are not 2.
        if n.last().is_none_or(|last| last & 1 == 0) {
            return Err(KeyError::Kind);
        }
        // With 1 as the exponent whatever is padded right is its own signature.
        let is_exponent = matches!(*e, [.., last] if last & 1 == 1) && *e != [1] && e.len() <= 4;
        if !is_exponent {
            return Err(KeyError::Kind);
        }
        Ok(Material::Rsa { n, e })
    }

    /// Of an uncompressed point: its length says the curve.
    pub(super) fn ec(point: &[u8]) -> Result<Material, KeyError> {
        match point {
            [4, rest @ ..] if rest.len() == 64 && is_on(&agreement::ECDH_P256, point) => {
                Ok(Material::P256(point.to_vec()))
            }
            [4, rest @ ..] if rest.len() == 96 && is_on(&agreement::ECDH_P384, point) => {
                Ok(Material::P384(point.to_vec()))
            }
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

/// Whether a point is one of the curve. Only an agreement tells: a signature that is wrong may be so for another
/// reason. A set whose keys can check nothing must not take the place of one that can.
fn is_on(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let point = agreement::UnparsedPublicKey::new(curve, point);
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    own.is_ok_and(|own| agree_ephemeral(own, &point, |_| ()).is_ok())
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
        Key {
            id: None,
            only: None,
            material,
        }
    }

    /// Whether tokens of this algorithm may be checked by it.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        let fits = match self.material {
            Material::Secret(_) => algorithm == Hs256,
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Es256,
            Material::P384(_) => algorithm == Es384,
            Material::Ed25519(_) => algorithm == EdDsa,
        };
        fits && self.only.is_none_or(|only| only == algorithm)
    }

    pub(super) fn has_signed(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if !self.allows(algorithm) {
            return false;
        }
        let verified =
            match &self.material {
                Material::Secret(key) => hmac::verify(key, message, signature),
                Material::Rsa { n, e } => match algorithm.rsa() {
                    Some(rsa) => RsaPublicKeyComponents { n, e }.verify(rsa, message, signature),
                    None => return false,
                },
                Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
                Material::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature),
                Material::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
                }
            };
        verified.is_ok()
    }
}
