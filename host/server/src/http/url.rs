//! What is written in a URL, decoded strictly: a part of it stands for one text, or for none. Not
//! for what the text means (`route`, `query`).

use std::borrow::Cow;

pub const DIGITS: &str = "a % in the {} must be followed by two hexadecimal digits";

/// Why a part of a URL stands for no text.
pub enum Undecodable {
    Digits,
    Utf8,
}

pub fn decode(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Undecodable::Digits);
        }
        rest = &rest[at + 3..];
    }
    let bytes = percent_encoding::percent_decode_str(raw);
    bytes.decode_utf8().map_err(|_| Undecodable::Utf8)
}
