//! Egress mode (DESIGN 4.3): what was requested, what holds, and which level decided. Not routing:
//! whether a remote provider may be used at all is `allowRemoteEgress`, in `routing`.

use crate::policy::Policy;
use crate::words::{Egress, EgressMode, EgressRule, Request};

/// Levels in order, from the deployment to the call: each one that is present is requested, and
/// holds unless it is `off` and its level may not switch off.
pub fn egress(policy: Option<&Policy>, request: &Request, base: EgressMode) -> Egress {
    let user = policy
        .zip(request.user.as_deref())
        .and_then(|(policy, user)| policy.user(user));
    let tenant_may = policy.and_then(|policy| policy.allow_off_mode);
    let user_may = user.and_then(|user| user.allow_off_mode).or(tenant_may);
    let levels = [
        (
            policy.and_then(|policy| policy.egress_mode),
            tenant_may,
            EgressRule::Tenant,
        ),
        (
            user.and_then(|user| user.egress_mode),
            user_may,
            EgressRule::User,
        ),
        (request.egress_mode, user_may, EgressRule::Caller),
    ];
    // The base is the deployment's own word: it needs no permission.
    let mut egress = Egress {
        requested: base,
        effective: base,
        rule: EgressRule::Base,
    };
    for (mode, may_switch_off, rule) in levels {
        let Some(mode) = mode else { continue };
        egress.requested = mode;
        if mode != EgressMode::Off || may_switch_off == Some(true) {
            egress.effective = mode;
            egress.rule = rule;
        }
    }
    egress
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Fields, UserPolicy};
    use EgressMode::{Enforce, Off, ReportOnly};

    fn policy(
        mode: Option<EgressMode>,
        may: Option<bool>,
        user: Option<(Option<EgressMode>, Option<bool>)>,
    ) -> Policy {
        let entry = |(egress_mode, allow_off_mode)| UserPolicy {
            user: "u",
            egress_mode,
            allow_off_mode,
        };
        Policy::pack(Fields {
            egress_mode: mode,
            allow_off_mode: may,
            users: user.map(entry).into_iter().collect(),
            ..Fields::new("p", "m")
        })
    }

    fn of(
        policy: Option<&Policy>,
        user: Option<&str>,
        call: Option<EgressMode>,
        base: EgressMode,
    ) -> (EgressMode, EgressMode, EgressRule) {
        let request = Request {
            user: user.map(Into::into),
            egress_mode: call,
            ..Request::default()
        };
        let egress = egress(policy, &request, base);
        (egress.requested, egress.effective, egress.rule)
    }

    #[test]
    fn the_base_holds_when_nobody_speaks_and_may_be_off() {
        assert_eq!(of(None, None, None, Off), (Off, Off, EgressRule::Base));
        let silent = policy(None, None, Some((None, None)));
        assert_eq!(
            of(Some(&silent), Some("u"), None, Enforce),
            (Enforce, Enforce, EgressRule::Base)
        );
    }

    #[test]
    fn without_a_policy_a_call_may_ask_for_anything_but_off() {
        assert_eq!(
            of(None, Some("u"), Some(ReportOnly), Enforce),
            (ReportOnly, ReportOnly, EgressRule::Caller)
        );
        assert_eq!(
            of(None, Some("u"), Some(Off), Enforce),
            (Off, Enforce, EgressRule::Base)
        );
    }

    #[test]
    fn off_needs_the_permission_of_its_level() {
        for may in [None, Some(false)] {
            let tenant = policy(Some(Off), may, None);
            assert_eq!(
                of(Some(&tenant), None, None, Enforce),
                (Off, Enforce, EgressRule::Base)
            );
        }
        let tenant = policy(Some(Off), Some(true), None);
        assert_eq!(
            of(Some(&tenant), None, None, Enforce),
            (Off, Off, EgressRule::Tenant)
        );
        let inherits = policy(None, Some(true), Some((Some(Off), None)));
        assert_eq!(
            of(Some(&inherits), Some("u"), None, Enforce),
            (Off, Off, EgressRule::User)
        );
        let forbids = policy(None, Some(true), Some((Some(Off), Some(false))));
        assert_eq!(
            of(Some(&forbids), Some("u"), None, Enforce),
            (Off, Enforce, EgressRule::Base)
        );
        assert_eq!(
            of(Some(&forbids), Some("u"), Some(Off), Enforce),
            (Off, Enforce, EgressRule::Base)
        );
        assert_eq!(
            of(Some(&forbids), Some("other"), Some(Off), Enforce),
            (Off, Off, EgressRule::Caller)
        );
        let allows = policy(Some(Off), Some(false), Some((None, Some(true))));
        assert_eq!(
            of(Some(&allows), Some("u"), None, Enforce),
            (Off, Enforce, EgressRule::Base)
        );
        assert_eq!(
            of(Some(&allows), Some("u"), Some(Off), Enforce),
            (Off, Off, EgressRule::Caller)
        );
    }

    #[test]
    fn the_rule_names_the_level_of_the_mode_that_holds() {
        let both = policy(Some(ReportOnly), Some(false), Some((Some(Off), None)));
        assert_eq!(
            of(Some(&both), Some("u"), None, Enforce),
            (Off, ReportOnly, EgressRule::Tenant)
        );
        assert_eq!(
            of(Some(&both), Some("u"), Some(Enforce), Enforce),
            (Enforce, Enforce, EgressRule::Caller)
        );
    }
}
