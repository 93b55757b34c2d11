//! Signatures of components: Ed25519 over the bytes of the file, by one of the keys that the
//! configuration names. Not for how signatures are made: any tool makes them (docs/operations.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::options::SignatureMode;

/// What precedes the key in the DER form of a public key (RFC 8410).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const KEY: usize = 32;
const SIGNATURE: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the component has no signature, and ORDAIN_COMPONENT_SIGNATURE is `required`")]
    Missing,
    #[error("the signature is not the base64 of {SIGNATURE} bytes (Ed25519)")]
    Malformed,
    #[error("a signature was given, but no key to check it by: set ORDAIN_COMPONENT_KEYS")]
    NoKeys,
    #[error(
        "the signature is by none of the {0} key(s) of ORDAIN_COMPONENT_KEYS, or of other bytes"
    )]
    Wrong(usize),
}

/// Who may sign components, and whether they must be.
pub struct Signers {
    mode: SignatureMode,
    keys: Vec<Vec<u8>>,
}

impl Signers {
    /// Keys that cannot be read are left out: the operator has been told by then (`key`).
    pub fn new(mode: SignatureMode, keys: &[String]) -> Signers {
        Signers {
            mode,
            keys: keys.iter().filter_map(|text| key(text)).collect(),
        }
    }

    /// Accepts bytes, or says why not. A signature that is given must be right in either mode.
    pub fn check(&self, bytes: &[u8], signature: Option<&str>) -> Result<(), SignatureError> {
        let Some(signature) = signature else {
            return match self.mode {
                SignatureMode::Optional => Ok(()),
                SignatureMode::Required => Err(SignatureError::Missing),
            };
        };
        let signature = STANDARD
            .decode(signature.trim())
            .ok()
            .filter(|signature| signature.len() == SIGNATURE)
            .ok_or(SignatureError::Malformed)?;
        if self.keys.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        let fits = |key: &Vec<u8>| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(bytes, &signature)
                .is_ok()
        };
        match self.keys.iter().any(fits) {
            true => Ok(()),
            false => Err(SignatureError::Wrong(self.keys.len())),
        }
    }
}

/// A signature as it is passed on, from a file of 64 bytes or of base64.
pub fn text(file: &[u8]) -> String {
    match file.len() {
        SIGNATURE => STANDARD.encode(file),
        _ => String::from_utf8_lossy(file).trim().to_owned(),
    }
}

/// A public key: 32 bytes in base64, bare or in the form of a PEM file's one line.
pub fn key(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let key = bytes.strip_prefix(&SPKI).unwrap_or(&bytes);
    (key.len() == KEY).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn pair(seed: u8) -> (Ed25519KeyPair, String) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed");
        let public = STANDARD.encode(pair.public_key().as_ref());
        (pair, public)
    }

    #[test]
    fn only_the_right_signature_by_a_known_key_is_accepted() {
        let ((ours, key), (theirs, _)) = (pair(1), pair(2));
        let sign = |pair: &Ed25519KeyPair, bytes: &[u8]| STANDARD.encode(pair.sign(bytes).as_ref());
        let good = sign(&ours, b"component");
        for mode in [SignatureMode::Optional, SignatureMode::Required] {
            let signers = Signers::new(mode, &[pair(3).1, key.clone()]);
            let check = |bytes: &[u8], signature: &str| signers.check(bytes, Some(signature));
            assert_eq!(check(b"component", &good), Ok(()));
            assert_eq!(check(b"component", &format!(" {good}\n")), Ok(()));
            assert_eq!(check(b"componenT", &good), Err(SignatureError::Wrong(2)));
            let foreign = sign(&theirs, b"component");
            assert_eq!(check(b"component", &foreign), Err(SignatureError::Wrong(2)));
            for broken in ["", "AAAA", "!", &good[..40]] {
                assert_eq!(check(b"component", broken), Err(SignatureError::Malformed));
            }
            let keyless = Signers::new(mode, &[]);
            let outcome = keyless.check(b"component", Some(&good));
            assert_eq!(outcome, Err(SignatureError::NoKeys));
            let unsigned = match mode {
                SignatureMode::Optional => Ok(()),
                SignatureMode::Required => Err(SignatureError::Missing),
            };
            assert_eq!(signers.check(b"component", None), unsigned);
        }
    }

    #[test]
    fn signatures_are_read_from_files_of_either_form() {
        let (pair, _) = pair(1);
        let bytes = pair.sign(b"component");
        let base64 = STANDARD.encode(bytes.as_ref());
        assert_eq!(text(bytes.as_ref()), base64);
        assert_eq!(text(format!("{base64}\n").as_bytes()), base64);
    }

    #[test]
    fn keys_are_read_bare_and_as_openssl_prints_them() {
        let (_, bare) = pair(1);
        let bytes = STANDARD.decode(&bare).expect("base64");
        let spki = STANDARD.encode([SPKI.as_slice(), &bytes].concat());
        assert!(spki.starts_with("MCowBQYDK2VwAyEA"), "{spki}");
        assert_eq!(key(&bare), Some(bytes.clone()));
        assert_eq!(key(&spki), Some(bytes));
        assert_eq!(key("no key"), None);
        assert_eq!(key(&STANDARD.encode([1; 31])), None);
    }
}
