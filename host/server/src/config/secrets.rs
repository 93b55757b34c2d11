//! Which options hold secrets, by id, and which are lists. Not for how they are masked where they
//! are shown (`Settings::shown`).

use ordain_store::secret::masked_url;

/// Secret whatever they are.
const SECRETS: [&str; 2] = ["far_key", "jwt_hs256_secret"];
/// URLs, which may have a password.
const URLS: [&str; 4] = ["database_url", "migrate_url", "redis_url", "jwks_url"];
/// Options that a file may give as a list.
pub const LISTS: [&str; 4] = [
    "local_providers",
    "component_keys",
    "far_key",
    "jwt_role_map",
];

/// Values of this option are never repeated.
pub fn is_secret(id: &str) -> bool {
    SECRETS.contains(&id) || URLS.contains(&id)
}

/// This very value is not for everybody's eyes.
pub fn reveals(id: &str, value: &str) -> bool {
    SECRETS.contains(&id) || (URLS.contains(&id) && masked_url(value) != value)
}
