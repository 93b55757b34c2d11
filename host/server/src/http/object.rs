//! Small JSON objects as bodies: their members one by one, so that every fault of them can be
//! named, members that come twice included. Not for records or requests, which have readers of
//! their own.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;
use ordain::request::{Faults, Malformed, fault, pointer};

/// The members of a body that is an object, in order.
pub fn members(body: &str) -> Result<Vec<(String, &RawValue)>, Problem> {
    let malformed = |error: serde_json::Error| Malformed(error.to_string());
    let whole: &RawValue = serde_json::from_str(body).map_err(malformed)?;
    match serde_json::from_str(whole.get()) {
        Ok(Members(members)) => Ok(members),
        Err(_) => Err(Problem::request(vec![fault("", "must be an object")])),
    }
}

/// The texts of a body that is an object of these members and no others.
pub fn texts<const N: usize>(body: &str, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut found = [const { None }; N];
    let mut faults = Faults::default();
    for (name, value) in members(body)? {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let known = match names.join(", ") {
                known if known.is_empty() => "none".to_owned(),
                known => known,
            };
            let message = format!("unknown field; known is {known}");
            faults.add(|| (pointer(&name), message));
            continue;
        };
        match serde_json::from_str::<String>(value.get()) {
            Ok(_) if found[index].is_some() => {
                faults.add(|| (pointer(&name), "the field appears more than once"));
            }
            Ok(text) => found[index] = Some(text),
            Err(_) if value.get() == "null" => {
                let message = "must be a string; leave the field out for none";
                faults.add(|| (pointer(&name), message));
            }
            Err(_) => faults.add(|| (pointer(&name), "must be a string")),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(Problem::request(faults.into_list()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_body_is_named() {
        let read = |body: &str| texts(body, ["a", "b"]);
        let pointers = |body: &str| {
            let problem = read(body).expect_err(body);
            let pointers = problem.errors.iter().map(|fault| fault.pointer.clone());
            (
                problem.status.as_u16(),
                pointers.collect::<Vec<_>>().join(" "),
            )
        };
        assert_eq!(read("{}"), Ok([None, None]));
        assert_eq!(read(r#" {"b":"x"} "#), Ok([None, Some("x".to_owned())]));
        for (body, expected) in [
            ("", (400, "")),
            ("{", (400, "")),
            ("{} {}", (400, "")),
            ("[]", (422, "")),
            ("null", (422, "")),
            (r#"{"c/d":1,"a":1}"#, (422, "/c~1d /a")),
            (r#"{"a":"x","a":"y"}"#, (422, "/a")),
            (r#"{"a":null}"#, (422, "/a")),
        ] {
            let (status, list) = pointers(body);
            assert_eq!((status, &*list), expected, "{body}");
        }
    }
}
