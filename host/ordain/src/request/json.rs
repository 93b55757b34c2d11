//! Reads resolve requests from JSON text: one pass, no tree in between, and every fault of a
//! request with its pointer instead of only the first. Not for the limits of values, which are
//! rules of the guest.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::faults::{Faults, Room, fault, pointer};
use super::token::{Token, TokenSeed, integer, mode, next_name, number, scalars, text};
use super::{Fault, Request, TenantRequest};
use ordain_store::ids::Tenant;

/// Most requests in one body.
pub const BATCH_LIMIT: usize = 1000;

/// One request, or all that is wrong with it; pointers are relative to the request.
pub type Item = Result<TenantRequest, Faulty>;

/// A request that cannot be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Faulty {
    /// Whom it names all the same, in several places perhaps: whoever asks must be allowed to.
    pub tenants: Vec<Tenant>,
    pub faults: Vec<Fault>,
}

/// Tenants that one request may name, though one is right; more are not looked at.
const TENANTS_MAX: usize = 100;

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
pub fn parse(text: &str, bound: Option<&Tenant>) -> Result<Body, Malformed> {
    let reader = Reader::new(bound);
    match run(text, BodySeed(&reader)) {
        Err(Failed::TooLarge(message)) => Ok(Body::One(Err(Faulty {
            tenants: Vec::new(),
            faults: vec![fault(reader.at.get(), message)],
        }))),
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
    text: &'de str,
    seed: S,
) -> Result<S::Value, Failed> {
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
    room: Room,
}

impl<'t> Reader<'t> {
    pub(super) fn new(bound: Option<&'t Tenant>) -> Reader<'t> {
        Reader {
            bound,
            at: Cell::new(""),
            room: Room::default(),
        }
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
fn no_object(found: Token<'_>) -> Faulty {
    let message = format!("a request is an object, this is {}", found.kind());
    Faulty {
        tenants: Vec::new(),
        faults: vec![fault("", message)],
    }
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
        let mut draft = Draft::new(self.0);
        while let Some(name) = next_name(&mut object)? {
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                object.next_value::<IgnoredAny>()?;
                draft.unknown(&name);
                continue;
            };
            self.0.at.set(POINTERS[index]);
            let value = object.next_value_seed(TokenSeed)?;
            if draft.seen & (1 << index) != 0 {
                draft.again(index, value);
                continue;
            }
            draft.seen |= 1 << index;
            draft.take(index, value);
        }
        Ok(draft.finish())
    }
}

/// A request while its members come in.
struct Draft<'r, 't> {
    reader: &'r Reader<'t>,
    tenant: Option<Tenant>,
    /// Named where none should be.
    others: Vec<Tenant>,
    request: Request,
    seen: u8,
    faults: Faults,
}

impl<'r, 't> Draft<'r, 't> {
    fn new(reader: &'r Reader<'t>) -> Draft<'r, 't> {
        Draft {
            reader,
            tenant: None,
            others: Vec::new(),
            request: Request::default(),
            seen: 0,
            faults: Faults::default(),
        }
    }

    fn fault<P: Into<String>, M: Into<String>>(&mut self, what: impl FnOnce() -> (P, M)) {
        self.faults.add_in(&self.reader.room, what);
    }

    fn unknown(&mut self, name: &str) {
        self.fault(|| {
            let message = format!("unknown field; a request has {}", NAMES.join(", "));
            (pointer(name), message)
        });
    }

    fn again(&mut self, index: usize, value: Token<'_>) {
        if let (0, Token::Text(id)) = (index, &value)
            && self.others.len() < TENANTS_MAX
        {
            self.others.extend(Tenant::new(id));
        }
        self.fault(|| (POINTERS[index], "the field appears more than once"));
    }

    fn take(&mut self, index: usize, value: Token<'_>) {
        if matches!(value, Token::Null) && (index != 0 || self.reader.bound.is_some()) {
            // As if it were not there, for callers that write all fields always.
            return;
        }
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
            self.fault(|| (POINTERS[index], message));
        }
    }

    fn finish(mut self) -> Item {
        let named = self.seen & 1 != 0;
        let tenant = match (self.tenant.take(), self.reader.bound) {
            (Some(tenant), Some(bound)) if tenant != *bound => {
                self.others.push(tenant);
                let message = format!("the request is of tenant {bound:?}, as the path says");
                self.fault(|| ("/tenant", message));
                None
            }
            (None, None) if !named => {
                self.fault(|| ("/tenant", "the field is missing"));
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
            tenant => {
                let mut tenants = self.others;
                tenants.extend(tenant);
                let faults = self.faults.into_list();
                Err(Faulty { tenants, faults })
            }
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
