//! The claims of a token whose signature is good: until when it holds, for whom it is, and what it
//! allows. Every claim that is looked at has one type; another is refused, never guessed at. Not
//! for what claims are called (`names`).

use std::time::Duration;

use serde_json::{Map, Value};

use super::denied::Denied;
use super::json;
use super::names::{Names, RoleMap, claim, is_scope};
use super::principal::{Grant, Principal, Role};
use ordain_store::ids::Tenant;

/// Seconds by which clocks may differ.
pub const LEEWAY: f64 = 30.0;
/// Largest time: seconds that every JSON reader keeps exactly.
const LATEST: f64 = (1_u64 << 53) as f64;
/// Tenants of one resolver; the length of a token bounds them further.
const TENANTS_MAX: usize = 1000;
/// Longest name of who asks, in code points: OpenID Connect allows 255 (Core 1.0, 2).
const ACTOR_LIMIT: usize = 256;
/// Names in the history that are Ordain's own: of what it does by itself, and of whoever is not
/// asked.
const RESERVED: [&str; 2] = ["ordain", "anonymous"];

/// What tokens must say besides, and how they say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// `None`: anything or nothing.
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub names: Names,
    pub roles: RoleMap,
    /// Longest time that a token may hold; `None`: any.
    pub lifetime: Option<Duration>,
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
    if let Some(most) = rules.lifetime {
        lifetime(&claims, span.until, most.as_secs_f64(), now)?;
    }
    origin(&claims, rules)?;
    let actor = actor(&claims)?;
    // All types first: which role reads a claim must not decide whether it may be nonsense.
    let tenant = tenants(&claims, &rules.names.tenant)
        .map_err(|()| Denied::Invalid("tenant_id is no id of a tenant, nor a list of ids"))?;
    let tenants = tenants(&claims, &rules.names.tenants)
        .map_err(|()| Denied::Invalid("tenants is no list of ids of tenants, nor one id"))?;
    let role = role(&claims, rules)?;
    let own = || match tenant.as_ref().map(Tenants::all) {
        None | Some([]) => Err(Denied::Forbidden(
            "the token has no tenant_id, or whatever ORDAIN_JWT_TENANT_CLAIM names",
        )),
        Some([tenant, more @ ..]) if more.iter().all(|other| other == tenant) => Ok(tenant.clone()),
        Some(_) => Err(Denied::Forbidden(
            "the token has several tenants: a reader or an editor has one, a resolver may have several",
        )),
    };
    let grant = match role {
        Role::Reader => Grant::Reader(own()?),
        Role::Editor => Grant::Editor(own()?),
        Role::Resolver => Grant::Resolver(match (tenants, &tenant) {
            (Some(tenants), _) => Some(tenants.into()),
            (None, Some(Tenants::List(list))) => Some(list.clone().into()),
            (None, _) => None,
        }),
        Role::Admin => Grant::Admin,
        Role::Metrics => Grant::Metrics,
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

/// From when it was issued, and without that, or if that is yet to come, from now.
fn lifetime(claims: &Map<String, Value>, until: f64, most: f64, now: f64) -> Result<(), Denied> {
    let issued = time(claims, "iat")
        .map_err(|()| Denied::Invalid("iat is not a number of seconds"))?
        .unwrap_or(now);
    if until - issued > most || until - now > most + LEEWAY {
        return Err(Denied::Invalid(
            "the token holds for longer than tokens may here (ORDAIN_JWT_MAX_LIFETIME)",
        ));
    }
    Ok(())
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
        Some(Value::String(sub)) => match actor_fault(sub) {
            None => Ok(sub.clone()),
            Some(why) => Err(Denied::Invalid(why)),
        },
        Some(_) => Err(Denied::Invalid("sub is not a string")),
        None => Err(Denied::Invalid("the token has no sub")),
    }
}

/// Why this cannot stand in the history as who has done something. `sql:` is how an edit in the
/// database is told from one through the service, other names are of Ordain itself, and marks of
/// direction would show a name as another one.
pub fn actor_fault(text: &str) -> Option<&'static str> {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.is_empty()
        || text.chars().count() > ACTOR_LIMIT
        || text.chars().any(|c| c.is_control() || turns(c))
    {
        return Some(
            "sub must have 1 to 256 characters and no control characters or marks of direction",
        );
    }
    // As it is read: what cannot be seen and the case of letters make no other name.
    let unseen = |c: &char| {
        matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
        )
    };
    let read: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !unseen(c))
        .flat_map(char::to_lowercase)
        .collect();
    if read.is_empty() {
        return Some("sub has nothing in it that can be seen");
    }
    if read.starts_with("sql:") || RESERVED.contains(&read.as_str()) {
        return Some(
            "sub is reserved: ordain and anonymous, and what begins with sql:, are names of Ordain's own in the history",
        );
    }
    None
}

/// What a claim says about tenants.
enum Tenants {
    One(Tenant),
    List(Vec<Tenant>),
}

impl Tenants {
    fn all(&self) -> &[Tenant] {
        match self {
            Tenants::One(tenant) => std::slice::from_ref(tenant),
            Tenants::List(list) => list,
        }
    }
}

impl From<Tenants> for Box<[Tenant]> {
    fn from(tenants: Tenants) -> Box<[Tenant]> {
        match tenants {
            Tenants::One(tenant) => Box::new([tenant]),
            Tenants::List(list) => list.into(),
        }
    }
}

fn tenants(claims: &Map<String, Value>, name: &str) -> Result<Option<Tenants>, ()> {
    let id = |text: &str| Tenant::new(text).map_err(|_| ());
    match claim(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Tenants::One(id(text)?))),
        Some(Value::Array(list)) if list.len() <= TENANTS_MAX => {
            let list = list.iter().map(|item| id(item.as_str().ok_or(())?));
            Ok(Some(Tenants::List(list.collect::<Result<_, _>>()?)))
        }
        Some(_) => Err(()),
    }
}

/// Of several roles the strongest.
fn role(claims: &Map<String, Value>, rules: &Rules) -> Result<Role, Denied> {
    let name = &rules.names.role;
    let values: Vec<&str> = match claim(claims, name) {
        None => {
            return Err(Denied::Forbidden(
                "the token has no role, or whatever ORDAIN_JWT_ROLE_CLAIM names",
            ));
        }
        Some(Value::String(text)) if is_scope(name) => text.split(' ').collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => {
            let values = list.iter().map(Value::as_str);
            values.collect::<Option<_>>().ok_or(Denied::Invalid(
                "role is a list with something in it that is not a string",
            ))?
        }
        Some(_) => {
            return Err(Denied::Invalid(
                "role is neither a string nor a list of strings",
            ));
        }
    };
    let known = values.iter().filter_map(|value| rules.roles.role(value));
    known.max().ok_or(Denied::Forbidden(
        "the token's role is not one of reader, editor, resolver, metrics, admin, nor one that \
         ORDAIN_JWT_ROLE_MAP makes one of these",
    ))
}
