//! JSON as a tree that keeps duplicate keys, order and nothing else of the text. serde_json's own
//! `Value` keeps the last of two equal keys in silence, which is how a record comes to mean one
//! thing to its author and another to its reader.
//! Not here: what a policy may contain.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// One JSON value. Numbers are doubles, as RFC 8785 has them: an integer beyond 2^53 is a number
/// that no field of a record allows anyway.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a whole text. The error says what is wrong and where (line and column), and quotes
    /// nothing of the text. Depth is limited by serde_json (128), so no text overflows the stack.
    pub fn parse(text: &str) -> Result<Json, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// The value's kind with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "an array",
            Json::Object(_) => "an object",
        }
    }

    /// Canonical text (RFC 8785), or nothing if an object has a key twice.
    pub fn canonical(&self) -> Option<String> {
        serde_json_canonicalizer::to_string(self).ok()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value as f64))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Number(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::String(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Json::Array(array))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Json::Object(object))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(value) => serializer.serialize_f64(*value),
            Json::String(value) => serializer.serialize_str(value),
            Json::Array(items) => {
                let mut array = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    array.serialize_element(item)?;
                }
                array.end()
            }
            Json::Object(members) => {
                let mut object = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    object.serialize_entry(key, value)?;
                }
                object.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Json::parse(text)
            .expect("JSON")
            .canonical()
            .expect("no duplicates")
    }

    #[test]
    fn canonical_text_follows_the_examples_of_rfc_8785() {
        let numbers =
            r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]}"#;
        assert_eq!(
            canonical(numbers),
            r#"{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}"#
        );
        let string = r#"["\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"]"#;
        assert_eq!(canonical(string), r#"["€$\u000f\nA'B\"\\\\\"/"]"#);
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        // By UTF-16 units: the emoji (D83D) before U+FB33, though its code point is higher.
        let sorted = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(keys), sorted);
        assert_eq!(
            canonical("[-0, 1.0, 2048.0, 9007199254740991, 1e21, true, null]"),
            "[0,1,2048,9007199254740991,1e+21,true,null]"
        );
    }

    #[test]
    fn both_of_two_equal_keys_are_kept_and_have_no_canonical_text() {
        let tree = Json::parse(r#"{"a":1,"a":2}"#).expect("JSON");
        let member = |value| ("a".to_owned(), Json::Number(value));
        assert_eq!(tree, Json::Object(vec![member(1.0), member(2.0)]));
        assert_eq!(tree.canonical(), None);
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let deep = "[".repeat(100_000);
        let texts = [
            "",
            "{",
            "{} x",
            "{'a':1}",
            "[1,]",
            "nul",
            "01",
            "1e999",
            "NaN",
            "\u{feff}{}",
            r#""\ud800""#,
            r#""\udc00x""#,
            r#"{"\ud800":1}"#,
            "\"\n\"",
            deep.as_str(),
        ];
        for text in texts {
            let error = Json::parse(text).expect_err(text);
            assert!(
                error.contains(" at line ") && error.contains(" column "),
                "{error}"
            );
        }
    }
}
