//! The form of a value in far, and the checks that make it trustworthy (rule A1). Whether it is
//! current is another question (the test V).
//!
//! ```text
//! 0   2   format, "o1"
//! 2   20  as-of, decimal
//! 22  8   id of the key that the MAC was made with
//! 30  32  MAC (BLAKE3; keyed if there is a key) of everything else
//! 62  1   1: a record follows, 0: there is none
//! 63  20  revision, decimal
//! 83  4   length of the tenant, big endian; ffffffff: the fleet
//! ..      tenant, then 4 bytes of length and the subject, then the record's text
//! ```

use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use ordain_store::ids::Key;
use ordain_store::{FAR_FORMAT, FAR_HEADER, Record};

const FLEET: u32 = u32::MAX;
const MAC: std::ops::Range<usize> = 30..FAR_HEADER;

/// Encodes and checks values. The first key writes, all of them are accepted (two while keys are
/// being changed).
pub struct FarCodec {
    keys: Vec<([u8; 8], Option<[u8; 32]>)>,
}

/// A value that is intact and belongs to its key.
#[derive(Debug, PartialEq, Eq)]
pub struct FarValue {
    pub as_of: u64,
    pub record: Option<Record>,
}

impl FarCodec {
    /// Without a key the MAC is a plain digest: it stops corruption and mix-ups, not a forger.
    pub fn new(keys: &[String]) -> FarCodec {
        let keys = keys
            .iter()
            .map(|text| {
                let key = blake3::derive_key("ordain 2026 far value", text.as_bytes());
                let id = blake3::derive_key("ordain 2026 far key id", &key);
                let mut name = [0; 8];
                for (i, digit) in name.iter_mut().enumerate() {
                    *digit = b"0123456789abcdef"[usize::from(id[i] & 15)];
                }
                (name, Some(key))
            })
            .collect::<Vec<_>>();
        let keys = if keys.is_empty() {
            vec![(*b"unkeyed.", None)]
        } else {
            keys
        };
        FarCodec { keys }
    }

    pub fn encode(&self, key: &Key, record: Option<&Record>, as_of: u64) -> Vec<u8> {
        let (id, secret) = &self.keys[0];
        let body = record.map_or("", |r| &r.body);
        let mut value = Vec::with_capacity(160 + body.len());
        value.extend(FAR_FORMAT.as_bytes());
        value.extend(format!("{as_of:020}").bytes());
        value.extend(id);
        value.extend([0; 32]);
        value.push(u8::from(record.is_some()));
        value.extend(format!("{:020}", record.map_or(0, |r| r.revision)).bytes());
        match &key.tenant {
            Some(tenant) => put_text(&mut value, tenant.as_str()),
            None => value.extend(FLEET.to_be_bytes()),
        }
        put_text(&mut value, &key.subject);
        value.extend(body.bytes());
        let mac = mac(&value, secret.as_ref());
        value[MAC].copy_from_slice(mac.as_bytes());
        value
    }

    /// `None`: damaged, of another format, of another key, or forged.
    pub fn decode(&self, key: &Key, value: &[u8]) -> Option<FarValue> {
        let header = value.get(..FAR_HEADER)?;
        let (_, secret) = self.keys.iter().find(|(id, _)| header[22..30] == *id)?;
        if !header.starts_with(FAR_FORMAT.as_bytes()) {
            return None;
        }
        let stored = blake3::Hash::from_slice(&header[MAC]).ok()?;
        // `Hash` compares in constant time.
        if mac(value, secret.as_ref()) != stored {
            return None;
        }
        let as_of = as_of(header)?;
        let rest = &value[FAR_HEADER..];
        let (present, rest) = rest.split_first()?;
        let (revision, rest) = rest.split_at_checked(20)?;
        let revision = std::str::from_utf8(revision).ok()?.parse().ok()?;
        let (tenant, rest) = take_text(rest)?;
        if tenant != key.tenant.as_ref().map(|t| t.as_str().as_bytes()) {
            return None;
        }
        let (subject, body) = take_text(rest)?;
        if subject != Some(key.subject.as_bytes()) {
            return None;
        }
        let record = match present {
            1 => Some(Record {
                body: Arc::from(std::str::from_utf8(body).ok()?),
                revision,
            }),
            _ => None,
        };
        Some(FarValue { as_of, record })
    }
}

/// The as-of that a value claims, damaged or not.
pub fn as_of(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value.get(2..22)?).ok()?.parse().ok()
}

/// `ordain:o1:<tenant>:<subject>`, percent-encoded; the fleet's has no tenant part at all.
pub fn far_key(key: &Key) -> String {
    /// What could be mistaken for the structure of a key, or for a hash tag of Redis Cluster.
    const ESCAPED: &AsciiSet = &CONTROLS.add(b':').add(b'%').add(b'{').add(b'}').add(b' ');
    let subject = utf8_percent_encode(&key.subject, ESCAPED);
    match &key.tenant {
        Some(tenant) => {
            let tenant = utf8_percent_encode(tenant.as_str(), ESCAPED);
            format!("ordain:{FAR_FORMAT}:{tenant}:{subject}")
        }
        None => format!("ordain:{FAR_FORMAT}:{subject}"),
    }
}

fn mac(value: &[u8], secret: Option<&[u8; 32]>) -> blake3::Hash {
    let mut hasher = secret.map_or_else(blake3::Hasher::new, blake3::Hasher::new_keyed);
    hasher.update(&value[..MAC.start]).update(&value[MAC.end..]);
    hasher.finalize()
}

fn put_text(value: &mut Vec<u8>, text: &str) {
    // Ids and subjects are a few hundred bytes at most.
    value.extend((text.len() as u32).to_be_bytes());
    value.extend(text.bytes());
}

/// A text (`None`: the fleet) and what follows it.
fn take_text(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*length) {
        FLEET => Some((None, rest)),
        length => {
            let (text, rest) = rest.split_at_checked(length as usize)?;
            Some((Some(text), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ordain_store::ids::Tenant;

    fn key(tenant: &str) -> Key {
        Key::policy(&Tenant::new(tenant).expect("a valid id"))
    }

    fn record() -> Record {
        Record {
            body: "{\"a\":1}".into(),
            revision: 7,
        }
    }

    #[test]
    fn a_value_comes_back_as_it_was() {
        let codec = FarCodec::new(&["secret".into()]);
        for record in [None, Some(record())] {
            let value = codec.encode(&key("a:b"), record.as_ref(), 42);
            assert_eq!(
                codec.decode(&key("a:b"), &value),
                Some(FarValue { as_of: 42, record })
            );
            assert_eq!(as_of(&value), Some(42));
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let codec = FarCodec::new(&[]);
        let value = codec.encode(&key("a"), Some(&record()), 42);
        for i in 0..value.len() {
            let mut damaged = value.clone();
            damaged[i] ^= 1;
            assert_eq!(codec.decode(&key("a"), &damaged), None, "byte {i}");
            assert_eq!(codec.decode(&key("a"), &value[..i]), None, "cut at {i}");
        }
    }

    #[test]
    fn a_value_of_another_tenant_or_another_key_is_refused() {
        let codec = FarCodec::new(&["new".into(), "old".into()]);
        let value = codec.encode(&key("a"), Some(&record()), 42);
        assert_eq!(codec.decode(&key("b"), &value), None);
        let old = FarCodec::new(&["old".into()]).encode(&key("a"), None, 42);
        assert!(
            codec.decode(&key("a"), &old).is_some(),
            "the old key is still accepted"
        );
        let foreign = FarCodec::new(&["other".into()]).encode(&key("a"), None, 42);
        assert_eq!(codec.decode(&key("a"), &foreign), None);
        let unkeyed = FarCodec::new(&[]).encode(&key("a"), None, 42);
        assert_eq!(codec.decode(&key("a"), &unkeyed), None);
    }

    #[test]
    fn far_keys_of_different_keys_differ() {
        let odd = ["a", "a:b", "a%3Ab", "a{b}", "policy", "a b", "ä", "default"];
        let mut seen: Vec<String> = odd.iter().map(|t| far_key(&key(t))).collect();
        seen.push(far_key(&Key {
            tenant: None,
            subject: "policy".into(),
        }));
        assert!(seen.iter().all(|k| k.bytes().all(|b| b.is_ascii_graphic())));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), odd.len() + 1);
    }
}
