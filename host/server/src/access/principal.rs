//! Principals and roles: who somebody is, and the one place that says what a role may do. Not for
//! where that is asked (`http/gate.rs`).

use std::sync::Arc;

use super::denied::Denied;
use ordain_coherence::shares::Charge;
use ordain_store::ids::Tenant;

/// From the weakest to the strongest: of what is one tenant's, each may do what the one before it
/// may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Metrics,
    Resolver,
    Reader,
    Editor,
    Admin,
}

impl Role {
    pub const ALL: [Role; 5] = [
        Role::Reader,
        Role::Editor,
        Role::Resolver,
        Role::Metrics,
        Role::Admin,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Editor => "editor",
            Role::Resolver => "resolver",
            Role::Metrics => "metrics",
            Role::Admin => "admin",
        }
    }

    pub fn of(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it may do this for a tenant that it is about.
    pub fn may(self, need: Need) -> bool {
        let Ok(tenant) = Tenant::new("own") else {
            return false;
        };
        let own = tenant.clone();
        let grant = match self {
            Role::Metrics => Grant::Metrics,
            Role::Resolver => Grant::Resolver(None),
            Role::Reader => Grant::Reader(own),
            Role::Editor => Grant::Editor(own),
            Role::Admin => Grant::Admin,
        };
        Principal::new("", grant).may(need, tenant.as_str())
    }
}

/// What a call needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing, not even a token.
    Nothing,
    /// To ask for a tenant.
    Resolve,
    /// To read what is a tenant's.
    Read,
    /// To change what is a tenant's.
    Write,
    /// To see the counters of this instance.
    Metrics,
    /// What concerns all tenants, or the service itself.
    Everything,
}

/// A role with what it is about: no role is without its tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    Reader(Tenant),
    Editor(Tenant),
    /// `None`: any tenant; an empty list: none.
    Resolver(Option<Box<[Tenant]>>),
    Metrics,
    Admin,
}

/// Somebody whose token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    actor: Arc<str>,
    grant: Grant,
}

impl Principal {
    pub(super) fn new(actor: &str, grant: Grant) -> Principal {
        Principal {
            actor: actor.into(),
            grant,
        }
    }

    #[cfg(test)]
    pub fn editor(tenant: &str) -> Principal {
        let tenant = Tenant::new(tenant).expect("an id");
        Principal::new("editor", Grant::Editor(tenant))
    }

    /// Whoever asks where no tokens are asked for.
    pub fn anonymous() -> Principal {
        Principal::new("anonymous", Grant::Admin)
    }

    /// Whoever runs the fleet. Where nobody is asked for a token it could be anybody.
    pub fn is_operator(&self) -> bool {
        self.grant == Grant::Admin && *self != Principal::anonymous()
    }

    /// The one tenant that it is bound to.
    pub fn tenant(&self) -> Option<&Tenant> {
        match &self.grant {
            Grant::Reader(own) | Grant::Editor(own) => Some(own),
            Grant::Resolver(Some(tenants)) => match &**tenants {
                [one] => Some(one),
                _ => None,
            },
            Grant::Resolver(None) | Grant::Metrics | Grant::Admin => None,
        }
    }

    /// Who pays for what they ask. A token that may ask about several tenants does, too: it could
    /// make them up.
    pub fn charge(&self) -> Charge {
        match self.tenant().is_some() || *self == Principal::anonymous() {
            true => Charge::Tenants,
            false => Charge::Token(self.actor.clone()),
        }
    }

    /// What the history calls them.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// `tenant`: that it is about, if it is about one. Same words for every tenant, existing or not.
    pub fn require(&self, need: Need, tenant: &str) -> Result<(), Denied> {
        if self.may(need, tenant) {
            return Ok(());
        }
        Err(Denied::Forbidden(match need {
            Need::Everything => "this call is for the role admin",
            Need::Metrics => "this call is for the roles metrics and admin",
            _ => "the token does not allow this call for this tenant",
        }))
    }

    pub fn may(&self, need: Need, tenant: &str) -> bool {
        match (&self.grant, need) {
            (_, Need::Nothing) | (Grant::Admin, _) | (Grant::Metrics, Need::Metrics) => true,
            (Grant::Editor(own), Need::Resolve | Need::Read | Need::Write)
            | (Grant::Reader(own), Need::Resolve | Need::Read) => own.as_str() == tenant,
            (Grant::Resolver(None), Need::Resolve) => true,
            (Grant::Resolver(Some(tenants)), Need::Resolve) => {
                tenants.iter().any(|one| one.as_str() == tenant)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> Tenant {
        Tenant::new(id).expect("an id")
    }

    fn allowed(grant: Grant) -> String {
        let principal = Principal::new("x", grant);
        let needs = [
            (Need::Resolve, "own"),
            (Need::Read, "own"),
            (Need::Write, "own"),
            (Need::Resolve, "other"),
            (Need::Read, "other"),
            (Need::Write, "other"),
            (Need::Metrics, ""),
            (Need::Everything, ""),
        ];
        let may = |(need, tenant)| principal.may(need, tenant);
        let marks = needs.map(|one| if may(one) { 'y' } else { '-' });
        marks.into_iter().collect()
    }

    #[test]
    fn who_may_ask_for_one_tenant_alone_is_bound_to_it() {
        let of = |grant: Grant| {
            let principal = Principal::new("x", grant);
            principal.tenant().map(|tenant| tenant.as_str().to_owned())
        };
        let some = |ids: &[&str]| Grant::Resolver(Some(ids.iter().map(|id| tenant(id)).collect()));
        for bound in [
            Grant::Reader(tenant("own")),
            Grant::Editor(tenant("own")),
            some(&["own"]),
        ] {
            assert_eq!(of(bound).as_deref(), Some("own"));
        }
        for free in [
            some(&[]),
            some(&["a", "b"]),
            Grant::Resolver(None),
            Grant::Metrics,
            Grant::Admin,
        ] {
            assert_eq!(of(free), None);
        }
    }

    #[test]
    fn roles_may_what_the_table_says() {
        assert_eq!(allowed(Grant::Reader(tenant("own"))), "yy------");
        assert_eq!(allowed(Grant::Editor(tenant("own"))), "yyy-----");
        assert_eq!(allowed(Grant::Resolver(None)), "y--y----");
        let some = Grant::Resolver(Some(Box::new([tenant("own")])));
        assert_eq!(allowed(some), "y-------");
        assert_eq!(allowed(Grant::Resolver(Some(Box::new([])))), "--------");
        assert_eq!(allowed(Grant::Metrics), "------y-");
        assert_eq!(allowed(Grant::Admin), "yyyyyyyy");
    }

    #[test]
    fn roles_and_tenants_are_compared_exactly() {
        for name in ["Admin", "admin ", "", "root"] {
            assert_eq!(Role::of(name), None, "{name}");
        }
        let principal = Principal::new("x", Grant::Reader(tenant("acme")));
        for other in ["ACME", "acme.", "acme ", "", "acm", "acme/x"] {
            assert!(!principal.may(Need::Read, other), "{other}");
        }
    }
}
