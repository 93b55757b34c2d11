//! One JSON value as a token: any kind is taken, so that a wrong one is a fault among others and
//! not the end of the parse.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::EgressMode;

/// Largest integer that every JSON reader keeps exactly.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Any JSON value, as far as a request can use it.
pub(super) enum Token<'de> {
    Null,
    Bool,
    Integer(u64),
    Number(f64),
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Token<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Token::Null => "null",
            Token::Bool => "a boolean",
            Token::Integer(_) | Token::Number(_) => "a number",
            Token::Text(_) => "a string",
            Token::List => "a list",
            Token::Object => "an object",
        }
    }
}

pub(super) struct TokenSeed;

impl<'de> DeserializeSeed<'de> for TokenSeed {
    type Value = Token<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Token<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TokenSeed {
    type Value = Token<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Token<'de>, E> {
        Ok(Token::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Token<'de>, E> {
        Ok(Token::Bool)
    }
    fn visit_u64<E>(self, value: u64) -> Result<Token<'de>, E> {
        Ok(Token::Integer(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Token<'de>, E> {
        Ok(Token::Number(value as f64))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Token<'de>, E> {
        Ok(Token::Number(value))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Token<'de>, E> {
        Ok(Token::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Token<'de>, E> {
        Ok(Token::Text(Cow::Owned(value.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Token<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Token::List)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Token<'de>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Token::Object)
    }
}

/// The next name of an object.
pub(super) fn next_name<'de, A: MapAccess<'de>>(
    object: &mut A,
) -> Result<Option<Cow<'de, str>>, A::Error> {
    match object.next_key_seed(TokenSeed)? {
        None => Ok(None),
        Some(Token::Text(name)) => Ok(Some(name)),
        Some(other) => Err(A::Error::custom(format!("{} as a name", other.kind()))),
    }
}

/// Sends all that is not listed to a method that gets it as a token.
macro_rules! scalars {
    ($value:ty, $wrong:expr) => {
        fn visit_unit<E>(self) -> Result<$value, E> {
            Ok($wrong(Token::Null))
        }
        fn visit_bool<E>(self, _: bool) -> Result<$value, E> {
            Ok($wrong(Token::Bool))
        }
        fn visit_u64<E>(self, value: u64) -> Result<$value, E> {
            Ok($wrong(Token::Integer(value)))
        }
        fn visit_i64<E>(self, value: i64) -> Result<$value, E> {
            Ok($wrong(Token::Number(value as f64)))
        }
        fn visit_f64<E>(self, value: f64) -> Result<$value, E> {
            Ok($wrong(Token::Number(value)))
        }
        fn visit_str<E>(self, _: &str) -> Result<$value, E> {
            Ok($wrong(Token::Text(Cow::Borrowed(""))))
        }
    };
}

pub(super) use scalars;

fn wrong(expected: &str, found: &Token<'_>) -> String {
    match found {
        Token::Null => "null is not a value here; leave the field out".to_owned(),
        Token::Number(_) if expected.starts_with("an integer") => format!("must be {expected}"),
        found => format!("must be {expected}, not {}", found.kind()),
    }
}

pub(super) fn text<'de>(value: Token<'de>) -> Result<Cow<'de, str>, String> {
    match value {
        Token::Text(text) => Ok(text),
        other => Err(wrong("a string", &other)),
    }
}

pub(super) fn number(value: Token<'_>) -> Result<f64, String> {
    match value {
        Token::Integer(value) => Ok(value as f64),
        Token::Number(value) => Ok(value),
        other => Err(wrong("a number", &other)),
    }
}

pub(super) fn integer(value: Token<'_>) -> Result<u64, String> {
    match value {
        Token::Integer(value) if value <= SAFE_INTEGER => Ok(value),
        Token::Integer(_) => Err(format!("must not be above {SAFE_INTEGER}")),
        // JSON has one kind of number: 100.0 is the integer 100, in records too.
        Token::Number(value)
            if value.fract() == 0.0 && (0.0..=SAFE_INTEGER as f64).contains(&value) =>
        {
            Ok(value as u64)
        }
        other => Err(wrong("an integer that is not negative", &other)),
    }
}

pub(super) fn mode(value: Token<'_>) -> Result<EgressMode, String> {
    match text(value)?.as_ref() {
        "enforce" => Ok(EgressMode::Enforce),
        "report-only" => Ok(EgressMode::ReportOnly),
        "off" => Ok(EgressMode::Off),
        _ => Err("must be enforce, report-only or off".to_owned()),
    }
}
