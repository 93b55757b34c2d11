//! Who calls: the principal that the gate has let pass, and in whose share the call holds what is
//! short. Not for whether they may (`gate`).

use std::sync::Arc;

use axum::http::Extensions;

use super::problem::Problem;
use crate::access::Principal;
use ordain_coherence::shares::Whose;

/// Who has passed; a handler that is reached in another way serves nobody.
pub fn principal(extensions: &Extensions) -> Result<&Arc<Principal>, Problem> {
    extensions.get().ok_or_else(|| {
        tracing::error!("a call was reached past the gate");
        Problem::internal()
    })
}

/// In whose share a call holds what is short: its tenant's, if its token is bound to one, else its
/// token's.
pub fn payer(extensions: &Extensions) -> Result<Whose, Problem> {
    let principal = principal(extensions)?;
    Ok(match principal.tenant() {
        Some(tenant) => Whose::from(tenant),
        None if principal.is_operator() => Whose::Operator,
        None => Whose::Token(principal.actor().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ordain_store::ids::Tenant;

    #[test]
    fn who_is_bound_to_a_tenant_pays_as_that_tenant_and_others_as_none_of_them() {
        let of = |principal: Principal| {
            let mut extensions = Extensions::new();
            extensions.insert(Arc::new(principal));
            payer(&extensions).expect("somebody")
        };
        let tenant = |id: &str| Whose::Tenant(Tenant::new(id).expect("an id"));
        assert_eq!(of(Principal::editor("own")), tenant("own"));
        let anybody = of(Principal::anonymous());
        assert!(anybody != Whose::Operator && anybody != tenant("anonymous"));
    }
}
