//! Reads resolve requests from JSON text: one pass, no tree in between, and every fault of a
//! request with its pointer instead of only the first. Not for the limits of values, which are
//! rules of the guest.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{EgressMode, Fault, Request, TenantRequest};
use crate::ids::Tenant;

/// Most requests in one body.
pub const BATCH_LIMIT: usize = 1000;

/// Largest integer that every JSON reader keeps exactly.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// One request, or all that is wrong with it; pointers are relative to the request.
pub type Item = Result<TenantRequest, Vec<Fault>>;

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    One(Item),
    Many(Vec<Item>),
    /// More than [`BATCH_LIMIT`] requests; so many.
    TooMany(usize),
}

/// A record that is not stored, and requests to try it with.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial<'a> {
    pub record: &'a str,
    pub requests: Body,
}

/// The text is no JSON; the message says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// Reads one request or a list of them. `bound`: all are of this tenant, and need not say so.
pub fn parse(text: &[u8], bound: Option<&Tenant>) -> Result<Body, Malformed> {
    let reader = Reader {
        bound,
        at: Cell::new(""),
    };
    match run(text, BodySeed(&reader)) {
        Err(Failed::TooLarge(message)) => Ok(Body::One(Err(vec![fault(
            reader.at.get().to_owned(),
            message,
        )]))),
        Err(Failed::Malformed(malformed)) => Err(malformed),
        Ok(body) => Ok(body),
    }
}

/// Reads `{"record": ..., "requests": [...]}`; the requests are of the tenant `bound`.
pub fn parse_trial<'a>(
    text: &'a [u8],
    bound: &Tenant,
) -> Result<Result<Trial<'a>, Vec<Fault>>, Malformed> {
    let reader = Reader {
        bound: Some(bound),
        at: Cell::new(""),
    };
    match run(text, TrialSeed(&reader)) {
        Err(Failed::TooLarge(message)) => Ok(Err(vec![fault(
            format!("/requests{}", reader.at.get()),
            message,
        )])),
        Err(Failed::Malformed(malformed)) => Err(malformed),
        Ok(trial) => Ok(trial),
    }
}

enum Failed {
    Malformed(Malformed),
    /// JSON, but a number in it has no double.
    TooLarge(&'static str),
}

fn run<'de, S: DeserializeSeed<'de>>(text: &'de [u8], seed: S) -> Result<S::Value, Failed> {
    let text = std::str::from_utf8(text).map_err(|error| {
        Failed::Malformed(Malformed(format!(
            "not UTF-8 at byte {}",
            error.valid_up_to()
        )))
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    seed.deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| {
            let message = error.to_string();
            if message.starts_with("number out of range") {
                Failed::TooLarge("the number is too large")
            } else {
                Failed::Malformed(Malformed(message))
            }
        })
}

/// What all parts of one parse share.
struct Reader<'t> {
    bound: Option<&'t Tenant>,
    /// Pointer of the member that is being read.
    at: Cell<&'static str>,
}

fn fault(pointer: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// The pointer of a member of the document (RFC 6901).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Any JSON value, as far as a request can use it.
enum Token<'de> {
    Null,
    Bool,
    Integer(u64),
    Number(f64),
    Text(Cow<'de, str>),
    List,
    Object,
}

impl Token<'_> {
    fn kind(&self) -> &'static str {
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

struct TokenSeed;

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
fn next_name<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    match object.next_key_seed(TokenSeed)? {
        None => Ok(None),
        Some(Token::Text(name)) => Ok(Some(name)),
        Some(other) => Err(A::Error::custom(format!("{} as a name", other.kind()))),
    }
}

const NAMES: [&str; 8] = [
    "tenant",
    "user",
    "task",
    "model",
    "temperature",
    "maxTokens",
    "egressMode",
    "minRevision",
];
const POINTERS: [&str; 8] = [
    "/tenant",
    "/user",
    "/task",
    "/model",
    "/temperature",
    "/maxTokens",
    "/egressMode",
    "/minRevision",
];

/// One request.
struct ItemSeed<'r, 't>(&'r Reader<'t>);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, '_> {
    type Value = Item;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A value that is no object is a fault of the whole request.
fn no_object(found: Token<'_>) -> Vec<Fault> {
    vec![fault(
        "",
        format!("a request is an object, this is {}", found.kind()),
    )]
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

impl<'de> Visitor<'de> for ItemSeed<'_, '_> {
    type Value = Item;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }
    scalars!(Item, |token| Err(no_object(token)));
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Item, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(no_object(Token::List)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Item, A::Error> {
        let mut draft = Draft::default();
        while let Some(name) = next_name(&mut object)? {
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                object.next_value::<IgnoredAny>()?;
                let message = format!("unknown field; a request has {}", NAMES.join(", "));
                draft.faults.push(fault(pointer(&name), message));
                continue;
            };
            self.0.at.set(POINTERS[index]);
            let value = object.next_value_seed(TokenSeed)?;
            if draft.seen & (1 << index) != 0 {
                draft
                    .faults
                    .push(fault(POINTERS[index], "the field appears more than once"));
                continue;
            }
            draft.seen |= 1 << index;
            draft.take(index, value);
        }
        Ok(draft.finish(self.0.bound))
    }
}

/// A request while its members come in.
#[derive(Default)]
struct Draft {
    tenant: Option<Tenant>,
    request: Request,
    seen: u8,
    faults: Vec<Fault>,
}

impl Draft {
    fn take(&mut self, index: usize, value: Token<'_>) {
        let outcome = match index {
            0 => text(value).and_then(|id| {
                let tenant = Tenant::new(&id).map_err(|error| error.to_string())?;
                self.tenant = Some(tenant);
                Ok(())
            }),
            1 => text(value).map(|user| self.request.user = Some(user.into_owned())),
            2 => text(value).map(|task| self.request.task = Some(task.into_owned())),
            3 => text(value).map(|model| self.request.model = Some(model.into_owned())),
            4 => number(value).map(|value| self.request.temperature = Some(value)),
            5 => integer(value).map(|value| self.request.max_tokens = Some(value)),
            6 => mode(value).map(|value| self.request.egress_mode = Some(value)),
            _ => integer(value).map(|value| self.request.min_revision = value),
        };
        if let Err(message) = outcome {
            self.faults.push(fault(POINTERS[index], message));
        }
    }

    fn finish(mut self, bound: Option<&Tenant>) -> Item {
        let named = self.seen & 1 != 0;
        let tenant = match (self.tenant, bound) {
            (Some(tenant), Some(bound)) if tenant != *bound => {
                let message = format!("the request is of tenant {bound:?}, as the path says");
                self.faults.push(fault("/tenant", message));
                None
            }
            (None, None) if !named => {
                self.faults.push(fault("/tenant", "the field is missing"));
                None
            }
            (None, Some(bound)) => Some(bound.clone()),
            (tenant, _) => tenant,
        };
        match tenant {
            Some(tenant) if self.faults.is_empty() => Ok(TenantRequest {
                tenant,
                request: self.request,
            }),
            _ => Err(self.faults),
        }
    }
}

fn wrong(expected: &str, found: &Token<'_>) -> String {
    match found {
        Token::Null => "null is not a value here; leave the field out".to_owned(),
        Token::Number(_) if expected.starts_with("an integer") => format!("must be {expected}"),
        found => format!("must be {expected}, not {}", found.kind()),
    }
}

fn text<'de>(value: Token<'de>) -> Result<Cow<'de, str>, String> {
    match value {
        Token::Text(text) => Ok(text),
        other => Err(wrong("a string", &other)),
    }
}

fn number(value: Token<'_>) -> Result<f64, String> {
    match value {
        Token::Integer(value) => Ok(value as f64),
        Token::Number(value) => Ok(value),
        other => Err(wrong("a number", &other)),
    }
}

fn integer(value: Token<'_>) -> Result<u64, String> {
    match value {
        Token::Integer(value) if value <= SAFE_INTEGER => Ok(value),
        Token::Integer(_) => Err(format!("must not be above {SAFE_INTEGER}")),
        other => Err(wrong("an integer that is not negative", &other)),
    }
}

fn mode(value: Token<'_>) -> Result<EgressMode, String> {
    match text(value)?.as_ref() {
        "enforce" => Ok(EgressMode::Enforce),
        "report-only" => Ok(EgressMode::ReportOnly),
        "off" => Ok(EgressMode::Off),
        _ => Err("must be enforce, report-only or off".to_owned()),
    }
}

/// One request or a list of them.
struct BodySeed<'r, 't>(&'r Reader<'t>);

impl<'de> DeserializeSeed<'de> for BodySeed<'_, '_> {
    type Value = Body;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodySeed<'_, '_> {
    type Value = Body;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request or a list of requests")
    }
    scalars!(Body, |token| Body::One(Err(no_object(token))));
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Body, A::Error> {
        let mut items = Vec::new();
        while items.len() < BATCH_LIMIT {
            match list.next_element_seed(ItemSeed(self.0))? {
                Some(item) => items.push(item),
                None => return Ok(Body::Many(items)),
            }
        }
        let mut count = items.len();
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(if count > BATCH_LIMIT {
            Body::TooMany(count)
        } else {
            Body::Many(items)
        })
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Body, A::Error> {
        ItemSeed(self.0).visit_map(object).map(Body::One)
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
        let (mut record, mut requests, mut faults) = (None, None, Vec::new());
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
                    faults.push(fault(pointer(&name), "the field appears more than once"));
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    faults.push(fault(
                        pointer(&name),
                        "unknown field; known are record, requests",
                    ));
                }
            }
        }
        if record.is_none() {
            faults.push(fault("/record", "the field is missing"));
        }
        match &requests {
            None => faults.push(fault("/requests", "the field is missing")),
            Some(Body::One(_)) => faults.push(fault("/requests", "must be a list of requests")),
            Some(_) => {}
        }
        Ok(match (record, requests) {
            (Some(record), Some(requests)) if faults.is_empty() => Ok(Trial { record, requests }),
            _ => Err(faults),
        })
    }
}
