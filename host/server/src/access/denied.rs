//! Why somebody is turned away. Not for who decides that (`token`, `keys`, `claims`, `principal`),
//! nor for how it is answered (`http/gate.rs`).

/// Why a request is turned away. Only words of our own: nothing of a token, a claim or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token to check.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// There is one, and it is not good.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is one, and it names a key that is not known, or not yet: `tried` are the keys of that
    /// generation.
    #[error("the token's kid names no key that is known")]
    UnknownKey { tried: u64 },
    /// There is one, and the keys to check it by have not come yet.
    #[error("the keys that tokens are checked by cannot be had at the moment: try again")]
    Unavailable,
    /// It is good, and not for this.
    #[error("{0}")]
    Forbidden(&'static str),
}
