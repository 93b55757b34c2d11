//! One key and the algorithms that it is for: the kind of the key decides, never a token. Not for
//! which key checks a token (`keys`).

use std::fmt;

use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject as _, SectionKind};

use super::der;
use super::material::{KeyError, Material};

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
