//! Reads resolve requests from JSON text: one pass, no tree in between, and every fault of a
//! request with its pointer instead of only the first. Not for the limits of values, which are
//! rules of the guest.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::token::{Token, TokenSeed, integer, mode, next_name, number, scalars, text};
use super::{Fault, Request, TenantRequest};
use crate::ids::Tenant;

/// Most requests in one body.
pub const BATCH_LIMIT: usize = 1000;

/// One request, or all that is wrong with it; pointers are relative to the request.
pub type Item = Result<TenantRequest, Vec<Fault>>;

/// Faults of one request that are listed.
const FAULTS_MAX: usize = 100;

/// What a body holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    One(Item),
    Many(Vec<Item>),
    /// More than [`BATCH_LIMIT`] requests; so many.
    TooMany(usize),
}

/// The text is no JSON; the message says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// Reads one request or a list of them. `bound`: all are of this tenant, and need not say so.
pub fn parse(text: &[u8], bound: Option<&Tenant>) -> Result<Body, Malformed> {
    let reader = Reader::new(bound);
    match run(text, BodySeed(&reader)) {
        Err(Failed::TooLarge(message)) => Ok(Body::One(Err(vec![fault(
            reader.at.get().to_owned(),
            message,
        )]))),
        Err(Failed::Malformed(malformed)) => Err(malformed),
        Ok(body) => Ok(body),
    }
}

pub(super) enum Failed {
    Malformed(Malformed),
    /// JSON, but a number in it has no double.
    TooLarge(&'static str),
}

pub(super) fn run<'de, S: DeserializeSeed<'de>>(
    text: &'de [u8],
    seed: S,
) -> Result<S::Value, Failed> {
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
pub(super) struct Reader<'t> {
    bound: Option<&'t Tenant>,
    /// Pointer of the member that is being read.
    pub(super) at: Cell<&'static str>,
    /// Tenants that were named instead of `bound`, each once.
    pub(super) others: RefCell<Vec<Tenant>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(bound: Option<&'t Tenant>) -> Reader<'t> {
        Reader {
            bound,
            at: Cell::new(""),
            others: RefCell::default(),
        }
    }
}

pub(super) fn fault(pointer: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// The pointer of a member of the document (RFC 6901).
pub(super) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
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
                draft.fault(pointer(&name), message);
                continue;
            };
            self.0.at.set(POINTERS[index]);
            let value = object.next_value_seed(TokenSeed)?;
            if draft.seen & (1 << index) != 0 {
                draft.fault(POINTERS[index], "the field appears more than once");
                continue;
            }
            draft.seen |= 1 << index;
            draft.take(index, value);
        }
        Ok(draft.finish(self.0))
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
    /// Faults beyond this are not listed: a body could otherwise make an answer many times its size.
    fn fault(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        match self.faults.len() {
            0..FAULTS_MAX => self.faults.push(fault(pointer, message)),
            FAULTS_MAX => self
                .faults
                .push(fault("", "there are more faults than these")),
            _ => {}
        }
    }

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

    fn finish(mut self, reader: &Reader<'_>) -> Item {
        let named = self.seen & 1 != 0;
        let tenant = match (self.tenant, reader.bound) {
            (Some(tenant), Some(bound)) if tenant != *bound => {
                let mut others = reader.others.borrow_mut();
                if !others.contains(&tenant) {
                    others.push(tenant);
                }
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

/// One request or a list of them.
pub(super) struct BodySeed<'r, 't>(pub(super) &'r Reader<'t>);

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
