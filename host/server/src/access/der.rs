//! Just enough DER to find the key in a `SubjectPublicKeyInfo` (RFC 5280), as PEM files hold it.

use super::material::{KeyError, Material};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BITS: u8 = 0x03;
const OID: u8 = 0x06;
const NULL: u8 = 0x05;

/// rsaEncryption, ecPublicKey with prime256v1 or secp384r1, Ed25519.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// What is left of an encoding.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content of the next element, if it is of this kind.
    fn next(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(2)?;
        if head[0] != kind {
            return None;
        }
        let (length, rest) = match head[1] {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => {
                let (high, low) = (*rest.first()?, *rest.get(1)?);
                (usize::from(u16::from_be_bytes([high, low])), rest.get(2..)?)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The key of a `SubjectPublicKeyInfo`.
pub fn public_key(der: &[u8]) -> Result<Material, KeyError> {
    parts(der).ok_or(KeyError::Kind)?
}

fn parts(der: &[u8]) -> Option<Result<Material, KeyError>> {
    let mut whole = Reader(der);
    let mut info = Reader(whole.next(SEQUENCE)?);
    whole.end()?;
    let mut algorithm = Reader(info.next(SEQUENCE)?);
    // The first byte counts unused bits, of which keys have none.
    let key = info.next(BITS)?.strip_prefix(&[0])?;
    info.end()?;
    let kind = algorithm.next(OID)?;
    if kind == RSA {
        algorithm.next(NULL)?;
        algorithm.end()?;
        let mut whole = Reader(key);
        let mut numbers = Reader(whole.next(SEQUENCE)?);
        whole.end()?;
        let (n, e) = (numbers.next(INTEGER)?, numbers.next(INTEGER)?);
        numbers.end()?;
        Some(Material::rsa(n, e))
    } else if kind == EC {
        let curve = algorithm.next(OID)?;
        algorithm.end()?;
        let material = Material::ec(key);
        let is_of_curve = match material {
            Ok(Material::P256(_)) => curve == P256,
            Ok(Material::P384(_)) => curve == P384,
            _ => false,
        };
        is_of_curve.then_some(material)
    } else if kind == ED25519 {
        algorithm.end()?;
        Some(Material::ed25519(key))
    } else {
        None
    }
}
