//! What a key is made of, and whether that is enough to check tokens by. Not for which algorithms
//! it is for (`key`) nor for the forms that it comes in (`der`, `jwks`).

use ring::agreement::{self, EphemeralPrivateKey, agree_ephemeral};
use ring::hmac;
use ring::rand::SystemRandom;

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

#[derive(Clone)]
pub enum Material {
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

impl Material {
    pub fn secret(bytes: &[u8]) -> Result<Material, KeyError> {
        if bytes.len() < SECRET_MIN {
            return Err(KeyError::Short);
        }
        if bytes.windows(10).any(|part| part == b"-----BEGIN") {
            return Err(KeyError::PemSecret);
        }
        Ok(Material::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Modulus and exponent, most significant byte first.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Material, KeyError> {
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
    pub fn ec(point: &[u8]) -> Result<Material, KeyError> {
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

    pub fn ed25519(key: &[u8]) -> Result<Material, KeyError> {
        match key.len() {
            32 => Ok(Material::Ed25519(key.to_vec())),
            _ => Err(KeyError::Kind),
        }
    }
}

/// Whether a point is one of the curve. Only an agreement tells: a signature that is wrong may be
/// so for another reason. A set whose keys can check nothing must not take the place of one that
/// can.
fn is_on(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let point = agreement::UnparsedPublicKey::new(curve, point);
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    own.is_ok_and(|own| agree_ephemeral(own, &point, |_| ()).is_ok())
}
