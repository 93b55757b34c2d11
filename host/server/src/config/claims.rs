//! What the claims of tokens are called and what they mean: options that the service and `ordain
//! token` have in common. Not for what follows from claims (`access`).

use std::time::Duration;

use clap::Args;

use super::ConfigError;
use super::values::duration;
use crate::access::{Names, RoleMap};

pub(super) const LIFETIME: &str = "ORDAIN_JWT_MAX_LIFETIME";

/// How tokens say who may what
#[derive(Clone, Args)]
pub struct ClaimsConfig {
    /// Claim with the role, or a list of roles of which the strongest counts: a member's whole
    /// name, else a path like app_metadata.role
    #[arg(
        long,
        env = "ORDAIN_JWT_ROLE_CLAIM",
        default_value = "role",
        value_name = "NAME"
    )]
    pub jwt_role_claim: String,

    /// What values of that claim mean, like App.Admin=admin,gateway=resolver; others mean nothing
    /// [default: reader, editor, resolver, metrics and admin mean themselves]
    #[arg(long, env = "ORDAIN_JWT_ROLE_MAP", value_name = "PAIRS")]
    pub jwt_role_map: Option<String>,

    /// Claim with the tenant of a reader or an editor; a list with several is for a resolver only
    #[arg(
        long,
        env = "ORDAIN_JWT_TENANT_CLAIM",
        default_value = "tenant_id",
        value_name = "NAME"
    )]
    pub jwt_tenant_claim: String,

    /// Claim with the tenants that a resolver may ask for
    #[arg(
        long,
        env = "ORDAIN_JWT_TENANTS_CLAIM",
        default_value = "tenants",
        value_name = "NAME"
    )]
    pub jwt_tenants_claim: String,

    /// Longest time that a token may hold; one that holds for longer is refused [default: any]
    #[arg(long, env = "ORDAIN_JWT_MAX_LIFETIME", value_parser = duration, value_name = "DURATION")]
    pub jwt_max_lifetime: Option<Duration>,
}

impl ClaimsConfig {
    pub fn checked(&self) -> Result<(Names, RoleMap), ConfigError> {
        let defaults = Names::default();
        // What is empty counts as unset.
        let or = |name: &String, default: String| match name.is_empty() {
            true => default,
            false => name.clone(),
        };
        let names = Names {
            role: or(&self.jwt_role_claim, defaults.role),
            tenant: or(&self.jwt_tenant_claim, defaults.tenant),
            tenants: or(&self.jwt_tenants_claim, defaults.tenants),
        };
        let map = self.jwt_role_map.as_deref().filter(|map| !map.is_empty());
        let roles = map.map(RoleMap::parse).transpose();
        let roles = roles.map_err(ConfigError::RoleMap)?;
        Ok((names, roles.unwrap_or_default()))
    }
}
