//! The claims of a token whose signature is good: until when it holds, for whom it is, and what it allows.
//! Every claim that is looked at has one type; another is refused, never guessed at.

use serde_json::{Map, Value};

use super::principal::{Grant, Principal, Role};
use super::{Denied, json};
use crate::ids::Tenant;

/// Seconds by which clocks may differ.
pub const LEEWAY: f64 = 30.0;
/// Largest time: seconds that every JSON reader keeps exactly.
const LATEST: f64 = (1_u64 << 53) as f64;
/// Tenants of one resolver; the length of a token bounds them further.
const TENANTS_MAX: usize = 1000;
/// Longest name of who asks, in code points.
const ACTOR_LIMIT: usize = 128;

/// What tokens must say besides; `None`: anything or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    pub issuer: Option<String>,
    pub audience: Option<String>,
}

/// While a token holds, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    from: Option<f64>,
    until: f64,
}

impl Span {
    pub fn check(&self, now: f64) -> Result<(), Denied> {
        if now >= self.until + LEEWAY {
            return Err(Denied::Invalid("the token is expired"));
        }
        match self.from {
            Some(from) if now < from - LEEWAY => Err(Denied::Invalid("the token is not valid yet")),
            _ => Ok(()),
        }
    }
}

/// Who it is, and while the token holds.
pub fn read(text: &[u8], rules: &Rules, now: f64) -> Result<(Principal, Span), Denied> {
    let claims = json::object(text).ok_or(Denied::Invalid(
        "the token's claims are not a JSON object, or one comes twice",
    ))?;
    let span = Span {
        from: time(&claims, "nbf")
            .map_err(|()| Denied::Invalid("nbf is not a number of seconds"))?,
        until: time(&claims, "exp")
            .map_err(|()| Denied::Invalid("exp is not a number of seconds"))?
            .ok_or(Denied::Invalid("the token has no exp"))?,
    };
    span.check(now)?;
    origin(&claims, rules)?;
    let actor = actor(&claims)?;
    // All types first: which role reads a claim must not decide whether it may be nonsense.
    let tenant = tenant(&claims)?;
    let tenants = tenants(&claims)?;
    let role = match claims.get("role") {
        None => return Err(Denied::Forbidden("the token has no role")),
        Some(Value::String(name)) => Role::of(name).ok_or(Denied::Forbidden(
            "the token's role is not one of reader, editor, resolver, admin",
        ))?,
        Some(_) => return Err(Denied::Invalid("role is not a string")),
    };
    let own = || {
        tenant
            .clone()
            .ok_or(Denied::Forbidden("the token has no tenant_id"))
    };
    let grant = match role {
        Role::Reader => Grant::Reader(own()?),
        Role::Editor => Grant::Editor(own()?),
        Role::Resolver => Grant::Resolver(tenants),
        Role::Admin => Grant::Admin,
    };
    Ok((Principal::new(&actor, grant), span))
}

fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, ()> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().ok_or(())?;
    if (0.0..=LATEST).contains(&seconds) {
        Ok(Some(seconds))
    } else {
        Err(())
    }
}

fn origin(claims: &Map<String, Value>, rules: &Rules) -> Result<(), Denied> {
    if let Some(issuer) = &rules.issuer {
        match claims.get("iss") {
            Some(Value::String(iss)) if iss == issuer => {}
            Some(Value::String(_)) => {
                return Err(Denied::Invalid("the token is of another issuer"));
            }
            Some(_) => return Err(Denied::Invalid("iss is not a string")),
            None => return Err(Denied::Invalid("the token has no iss")),
        }
    }
    let Some(audience) = &rules.audience else {
        return Ok(());
    };
    let other = Err(Denied::Invalid("the token is for another audience"));
    let not_text = Err(Denied::Invalid(
        "aud is neither a string nor a list of strings",
    ));
    match claims.get("aud") {
        Some(Value::String(aud)) if aud == audience => Ok(()),
        Some(Value::String(_)) => other,
        Some(Value::Array(list)) if !list.iter().all(Value::is_string) => not_text,
        Some(Value::Array(list)) if list.iter().any(|aud| aud == audience.as_str()) => Ok(()),
        Some(Value::Array(_)) => other,
        Some(_) => not_text,
        None => Err(Denied::Invalid("the token has no aud")),
    }
}

/// `sub`: it goes into the history and onto terminals.
fn actor(claims: &Map<String, Value>) -> Result<String, Denied> {
    match claims.get("sub") {
        Some(Value::String(sub)) if is_actor(sub) => Ok(sub.clone()),
        Some(Value::String(_)) => Err(Denied::Invalid(
            "sub must have 1 to 128 characters, no control characters or marks of direction, and not begin with sql:",
        )),
        Some(_) => Err(Denied::Invalid("sub is not a string")),
        None => Err(Denied::Invalid("the token has no sub")),
    }
}

/// What can stand in the history as who has done something. `sql:` is how an edit in the database is told from
/// one through the service; marks of direction would show a name as another one.
pub fn is_actor(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.is_empty()
        && text.chars().count() <= ACTOR_LIMIT
        && !text.chars().any(|c| c.is_control() || turns(c))
        && !text.starts_with("sql:")
}

fn tenant(claims: &Map<String, Value>) -> Result<Option<Tenant>, Denied> {
    match claims.get("tenant_id") {
        None => Ok(None),
        Some(Value::String(id)) => match Tenant::new(id) {
            Ok(tenant) => Ok(Some(tenant)),
            Err(_) => Err(Denied::Invalid("tenant_id is no id of a tenant")),
        },
        Some(_) => Err(Denied::Invalid("tenant_id is not a string")),
    }
}

fn tenants(claims: &Map<String, Value>) -> Result<Option<Box<[Tenant]>>, Denied> {
    let wrong = Denied::Invalid("tenants is not a list of ids of tenants");
    let list = match claims.get("tenants") {
        None => return Ok(None),
        Some(Value::Array(list)) if list.len() <= TENANTS_MAX => list,
        Some(_) => return Err(wrong),
    };
    let tenants = list.iter().map(|item| {
        let id = item.as_str().ok_or(wrong)?;
        Tenant::new(id).map_err(|_| wrong)
    });
    tenants.collect::<Result<_, _>>().map(Some)
}
