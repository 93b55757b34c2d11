//! The body of a trial: a record that is not stored, kept as text, and requests to try it with.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Fault;
use super::faults::{Faults, fault, pointer};
use super::json::{Body, BodySeed, Failed, Malformed, Reader, run};
use super::token::{Token, next_name, scalars};
use ordain_store::ids::Tenant;

/// A record that is not stored, and requests to try it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial<'a> {
    pub record: &'a str,
    pub requests: Body,
}

/// Reads `{"record": ..., "requests": [...]}`; the requests are of the tenant `bound`.
pub fn parse_trial<'a>(
    text: &'a str,
    bound: &Tenant,
) -> Result<Result<Trial<'a>, Vec<Fault>>, Malformed> {
    let reader = Reader::new(Some(bound));
    match run(text, TrialSeed(&reader)) {
        Err(Failed::TooLarge(message)) => Ok(Err(vec![fault(
            format!("/requests{}", reader.at.get()),
            message,
        )])),
        Err(Failed::Malformed(malformed)) => Err(malformed),
        Ok(trial) => Ok(trial),
    }
}

/// A record and requests to try it with.
struct TrialSeed<'r, 't>(&'r Reader<'t>);

impl<'de> DeserializeSeed<'de> for TrialSeed<'_, '_> {
    type Value = Result<Trial<'de>, Vec<Fault>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TrialSeed<'_, '_> {
    type Value = Result<Trial<'de>, Vec<Fault>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with record and requests")
    }
    scalars!(Self::Value, |_| Err(vec![fault(
        "",
        "must be an object with record and requests"
    )]));
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(vec![fault(
            "",
            "must be an object with record and requests",
        )]))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let (mut record, mut requests) = (None, None);
        let mut faults = Faults::default();
        while let Some(name) = next_name(&mut object)? {
            match name.as_ref() {
                "record" if record.is_none() => {
                    record = Some(object.next_value::<&RawValue>()?.get())
                }
                "requests" if requests.is_none() => {
                    requests = Some(object.next_value_seed(BodySeed(self.0))?);
                }
                "record" | "requests" => {
                    object.next_value::<IgnoredAny>()?;
                    faults.add(|| (pointer(&name), "the field appears more than once"));
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    let message = "unknown field; known are record, requests";
                    faults.add(|| (pointer(&name), message));
                }
            }
        }
        if record.is_none() {
            faults.add(|| ("/record", "the field is missing"));
        }
        match &requests {
            None => faults.add(|| ("/requests", "the field is missing")),
            Some(Body::One(_)) => faults.add(|| ("/requests", "must be a list of requests")),
            Some(_) => {}
        }
        Ok(match (record, requests) {
            (Some(record), Some(requests)) if faults.is_empty() => Ok(Trial { record, requests }),
            _ => Err(faults.into_list()),
        })
    }
}
