//! What a push, a promotion or a rollback is given and says, and what is said of a component that
//! does not do what the fleet wants. Not for what an instance runs (`report`).

use std::time::SystemTime;

use serde::Serialize;

use crate::runtime::signature::SignatureError;
use crate::runtime::{LoadError, Plan};
use ordain_store::{OriginError, WriteError};

/// What becomes of a component that was pushed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Intent {
    /// It answers in the shadow.
    Try(Plan),
    /// It answers.
    Promote,
}

/// Why a component was not pushed, promoted or rolled back. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("the component is refused: {0}")]
    Refused(#[from] LoadError),
    #[error("there is no candidate: push a component first")]
    NoCandidate,
    #[error("there is no component {0}: push it first")]
    Unknown(String),
    #[error("there is nothing to roll back to: no component was promoted since the last rollback")]
    NothingBefore,
    #[error(
        "somebody else has changed the component in the meantime: look at its status and try again"
    )]
    Changed,
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] OriginError),
}

/// A change of what the fleet runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Position of the change.
    pub revision: u64,
    /// `None`: what each instance has in its file.
    pub digest: Option<String>,
    /// This instance has carried it out.
    pub done: bool,
}

/// Why a component does not do here what the fleet wants of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    pub digest: String,
    /// RFC 3339.
    pub at: String,
    pub error: String,
    #[serde(skip)]
    pub kind: TroubleKind,
}

/// As much of a trouble as everybody may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    Unsigned,
    Signature,
    World,
    Vectors,
    Other,
}

/// What is wrong, in words and by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    pub kind: TroubleKind,
    pub text: String,
}

impl From<&LoadError> for Hindrance {
    fn from(error: &LoadError) -> Hindrance {
        Hindrance {
            kind: match error {
                LoadError::Signature(SignatureError::Missing) => TroubleKind::Unsigned,
                LoadError::Signature(_) => TroubleKind::Signature,
                LoadError::World(_) => TroubleKind::World,
                LoadError::Vectors(_) => TroubleKind::Vectors,
                _ => TroubleKind::Other,
            },
            text: error.to_string(),
        }
    }
}

impl From<String> for Hindrance {
    fn from(text: String) -> Hindrance {
        Hindrance {
            kind: TroubleKind::Other,
            text,
        }
    }
}

impl Trouble {
    pub fn new(digest: &str, why: Hindrance) -> Trouble {
        Trouble {
            digest: digest.to_owned(),
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            error: why.text,
            kind: why.kind,
        }
    }
}
