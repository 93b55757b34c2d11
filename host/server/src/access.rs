//! Who asks, and what they may: tokens become principals here, and roles say what a principal may
//! do. Not for HTTP (`http/gate.rs` asks here) and not for policies.
//!
//! Signatures are checked with `ring`, which the rest of Ordain uses too. Why no library for tokens
//! is used is in docs/architecture.md, "The gate".

mod claims;
mod denied;
mod der;
mod follow;
mod json;
mod jwks;
mod key;
mod keyfile;
mod keyring;
mod keys;
mod material;
mod mint;
mod names;
mod principal;
mod remote;
#[cfg(test)]
mod tests;
mod token;
mod verifier;

use std::sync::Arc;

use ordain_store::supervise::TaskStatus;

pub use claims::Rules;
pub use denied::Denied;
pub use follow::Source;
pub use jwks::JwksError;
pub use key::{Algorithm, Key};
pub use keyring::KeysState;
pub use material::{KeyError, SECRET_MIN};
pub use mint::{MintError, Signer, Wish};
pub use names::{Names, RoleMap, RoleMapError};
pub use principal::{Need, Principal, Role};
pub use remote::{Address, AddressError, Remote};
pub use verifier::{Configured, Verifier};

/// Whether tokens are asked for.
#[derive(Clone)]
pub enum Access {
    /// No: everybody is this principal. For development, and for commands that have the database
    /// anyway.
    Open(Arc<Principal>),
    Tokens(Arc<Verifier>),
}

impl Access {
    /// Everybody may do everything.
    pub fn open() -> Access {
        Access::Open(Arc::new(Principal::anonymous()))
    }

    /// Who has sent this token.
    pub fn principal(&self, token: Result<&str, Denied>) -> Result<Arc<Principal>, Denied> {
        match self {
            Access::Open(principal) => Ok(principal.clone()),
            Access::Tokens(verifier) => verifier.principal(token?),
        }
    }

    /// Has keys looked at now.
    pub fn reload(&self) {
        if let Access::Tokens(verifier) = self {
            verifier.reload();
        }
    }

    /// Whether keys may have changed since a token named one that was not known to those of the
    /// generation `tried`: it is worth another try.
    pub async fn refresh(&self, tried: u64) -> bool {
        match self {
            Access::Open(_) => false,
            Access::Tokens(verifier) => verifier.refresh(tried).await,
        }
    }

    /// What works in the background for it.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        match self {
            Access::Open(_) => Vec::new(),
            Access::Tokens(verifier) => verifier.tasks(),
        }
    }

    /// How the file or URL of keys fares; `None`: there is none.
    pub fn keys(&self) -> Option<KeysState> {
        match self {
            Access::Open(_) => None,
            Access::Tokens(verifier) => verifier.state(),
        }
    }
}
