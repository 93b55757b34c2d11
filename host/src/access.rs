//! Who asks, and what they may: tokens become principals here, and roles say what a principal may do.
//! Not for HTTP (`http/gate.rs` asks here) and not for policies.
//!
//! Signatures are checked with `ring`, which the rest of Ordain uses too. A library for tokens would bring
//! a second implementation of the same algorithms, and what is hard is not in it: which key may check
//! what, and JSON that means one thing only.

mod claims;
mod der;
mod json;
mod jwks;
mod key;
mod keys;
mod mint;
mod principal;
#[cfg(test)]
mod tests;
mod token;
mod verifier;

use std::sync::Arc;

pub use claims::Rules;
pub use jwks::JwksError;
pub use key::{Algorithm, Key, KeyError, SECRET_MIN};
pub use mint::{MintError, Signer, Wish};
pub use principal::{Need, Principal, Role};
pub use verifier::{Configured, Verifier};

/// Why a request is turned away. Only words of our own: nothing of a token, a claim or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token to check.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// There is one, and it is not good.
    #[error("{0}")]
    Invalid(&'static str),
    /// It is good, and not for this.
    #[error("{0}")]
    Forbidden(&'static str),
}

/// Whether tokens are asked for.
#[derive(Clone)]
pub enum Access {
    /// No: everybody is this principal. For development, and for commands that have the database anyway.
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

    /// How the file of keys fares; `None`: there is none. `Some(false)`: what it holds now cannot be used,
    /// the keys from before are.
    pub fn keys_are_current(&self) -> Option<bool> {
        match self {
            Access::Open(_) => None,
            Access::Tokens(verifier) => verifier.is_current(),
        }
    }
}
