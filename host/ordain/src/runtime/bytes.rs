//! Bytes that are to become a component: what can be said of them without compiling, and why they
//! are refused, now or later. Not for the steps of that (`loader`).

use sha2::{Digest, Sha256};

use super::signature::SignatureError;

/// Largest component, as the origin keeps it.
pub const BYTES_MAX: usize = 8 << 20;

/// Why bytes cannot become a generation. The text says what is wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("not a WebAssembly component: it does not begin like one")]
    Foreign,
    #[error(
        "not a WebAssembly component but a core module: make one of it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("not a WebAssembly component that this host can run: {0}")]
    Compile(String),
    /// Compiling it would take, or took, more than there is for it.
    #[error("the component is too much to compile: {0}")]
    Excess(String),
    /// The component is not to blame.
    #[error("no component can run here: {0}")]
    Denied(String),
    #[error("{size} bytes are too many: a component has at most {} MiB", BYTES_MAX >> 20)]
    Size { size: usize },
    /// Every difference.
    #[error("the component does not fit the world: {}", .0.join("; "))]
    World(Vec<String>),
    #[error("the component cannot be instantiated: {0}")]
    Instance(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Every vector that was answered otherwise, in words.
    #[error("the component answers {} of the decision vectors otherwise: {}", .0.len(), .0.join("; "))]
    Vectors(Vec<String>),
    #[error(
        "other bytes are kept under the name {asked}: they are {found}; push the component again"
    )]
    OtherBytes { asked: String, found: String },
    /// Worth another try.
    #[error("the component could not be checked now: {0}")]
    Busy(String),
}

/// The name of a component.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// What can be said of bytes without compiling them.
pub fn check_size_and_kind(bytes: &[u8]) -> Result<(), LoadError> {
    // What the parser says of other files is a dump of what it expected. A component and a module
    // differ in the second half of the version.
    match bytes {
        _ if bytes.len() > BYTES_MAX => Err(LoadError::Size { size: bytes.len() }),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::CoreModule),
        [b'\0', b'a', b's', b'm', ..] => Ok(()),
        _ => Err(LoadError::Foreign),
    }
}
