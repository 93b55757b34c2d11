//! Small JSON objects as bodies: their members one by one, so that every fault of them can be
//! named, members that come twice included. Not for records or requests, which have readers of
//! their own.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;
use ordain::request::{Malformed, fault};

/// The members of a body that is an object, in order.
pub fn members(body: &str) -> Result<Vec<(String, &RawValue)>, Problem> {
    let malformed = |error: serde_json::Error| Malformed(error.to_string());
    let whole: &RawValue = serde_json::from_str(body).map_err(malformed)?;
    match serde_json::from_str(whole.get()) {
        Ok(Members(members)) => Ok(members),
        Err(_) => Err(Problem::request(vec![fault("", "must be an object")])),
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
