//! Names of tenants and keys of records. Not for the rules of policies: those are the guest's.

use std::fmt;
use std::sync::Arc;

/// Longest id, in code points (DESIGN 7.1).
pub const ID_LIMIT: usize = 256;

/// An id of a provider or model, as records have them (DESIGN 7.1).
pub fn is_id(text: &str) -> bool {
    // No character has more than four bytes: nobody counts megabytes.
    (1..=ID_LIMIT * 4).contains(&text.len())
        && text.chars().count() <= ID_LIMIT
        && !text.chars().any(char::is_control)
}

/// A tenant's id: 1 to 256 code points, no C0, DEL or C1 characters, and neither `.` nor `..`
/// (clients would resolve those away in a path). Anything else goes, `default` and `a/b` included.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

/// Why a text is no tenant id; the message is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    #[error("a tenant id has 1 to 256 characters, this one has none")]
    Empty,
    #[error("a tenant id has 1 to 256 characters, this one has {0}")]
    TooLong(usize),
    #[error("a tenant id has no control characters, this one has U+{0:04X}")]
    Control(u32),
    #[error("`.` and `..` cannot be tenant ids")]
    Dots,
}

impl Tenant {
    pub fn new(id: &str) -> Result<Tenant, TenantError> {
        if id.is_empty() {
            return Err(TenantError::Empty);
        }
        let length = id.chars().count();
        if length > ID_LIMIT {
            return Err(TenantError::TooLong(length));
        }
        if let Some(control) = id.chars().find(|c| c.is_control()) {
            return Err(TenantError::Control(control.into()));
        }
        if id == "." || id == ".." {
            return Err(TenantError::Dots);
        }
        Ok(Tenant(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A user's id is limited as a tenant's is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User(Arc<str>);

impl User {
    pub fn new(id: &str) -> Result<User, UserError> {
        match Tenant::new(id) {
            Ok(Tenant(id)) => Ok(User(id)),
            Err(fault) => Err(UserError(fault)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Why a text is no user id; the message is for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserError(TenantError);

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string().replace("tenant id", "user id"))
    }
}

impl std::error::Error for UserError {}

/// Subject of the one policy of a tenant.
pub const POLICY: &str = "policy";

/// Subject of the config of the fleet or of a tenant.
pub const CONFIG: &str = "config";

/// Subject of a user's config: this and the user.
pub const USER_CONFIG: &str = "config/";

/// Whose config: the levels from the weakest to the strongest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Level {
    Global,
    Tenant(Tenant),
    User(Tenant, User),
}

impl Level {
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Level::Global => None,
            Level::Tenant(tenant) | Level::User(tenant, _) => Some(tenant),
        }
    }
}

/// Key of a record: whose it is (`None`: the fleet) and which one. `None` is no tenant id, so
/// no tenant can collide with the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: Option<Tenant>,
    pub subject: Arc<str>,
}

impl Key {
    pub fn policy(tenant: &Tenant) -> Key {
        Key {
            tenant: Some(tenant.clone()),
            subject: POLICY.into(),
        }
    }

    pub fn config(level: &Level) -> Key {
        let subject = match level {
            Level::Global | Level::Tenant(_) => CONFIG.into(),
            Level::User(_, user) => format!("{USER_CONFIG}{user}").into(),
        };
        Key {
            tenant: level.tenant().cloned(),
            subject,
        }
    }

    pub fn kind(&self) -> Kind {
        Kind::of(&self.subject)
    }

    /// What the key names; `None`: no record is called so.
    pub fn record(&self) -> Option<RecordName<'_>> {
        match (&self.tenant, &*self.subject) {
            (Some(_), POLICY) => Some(RecordName::Policy),
            (_, CONFIG) => Some(RecordName::Config(None)),
            (Some(_), subject) => {
                let user = subject.strip_prefix(USER_CONFIG)?;
                (!user.is_empty()).then_some(RecordName::Config(Some(user)))
            }
            _ => None,
        }
    }
}

/// A kind of record, which has caches and an origin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Policy,
    Config,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Policy => POLICY,
            Kind::Config => CONFIG,
        })
    }
}

impl Kind {
    pub fn of(subject: &str) -> Kind {
        let rest = subject.strip_prefix(CONFIG);
        match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            true => Kind::Config,
            false => Kind::Policy,
        }
    }
}

/// Which record of its tenant, or of the fleet, a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordName<'a> {
    Policy,
    /// Of the fleet or the tenant (`None`), or of a user.
    Config(Option<&'a str>),
}
