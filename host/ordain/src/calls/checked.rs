//! What comes of the check of a record: its canonical text, or what is wrong with it. The same for
//! every capability that stores records. Not for who checks it.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::convert::read_faults;
use super::question::{Reply, Shown};
use crate::answer::{Breakdown, ResolveError};
use crate::request::Fault;
use crate::world::Export;
use crate::world::bindings::types::{Failure, Invalid};

/// Longest record in bytes, as the origin keeps it.
const RECORD_LIMIT: usize = 256 << 10;
/// A longer text may take more than a tick: it is not begun on a thread that cannot wait.
const PROMPT_LIMIT: usize = 16 << 10;

/// Canonical text, or what is wrong.
pub type Checked = Result<String, Invalid>;

/// Why a record cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Not JSON; the message says where.
    #[error("{0}")]
    Malformed(String),
    #[error("the record has {} fault(s)", .0.len())]
    Faults(Vec<Fault>),
    /// The component trapped or ran out of time.
    #[error("the component failed: {0}")]
    Component(Breakdown),
    /// The component has no such capability, or an older version of it.
    #[error("the component that runs does not offer `{0}`")]
    NotOffered(Export),
    /// It could not be checked within the request's deadline.
    #[error("the record could not be checked in time")]
    Late,
    #[error("too many records wait to be checked")]
    Overloaded,
}

pub fn read_checked(reply: Result<Checked, ResolveError>) -> Result<String, InvalidRecord> {
    match reply {
        Ok(checked) => checked.map_err(|invalid| match invalid {
            Invalid::Malformed(message) => InvalidRecord::Malformed(message),
            Invalid::Faults(faults) => InvalidRecord::Faults(read_faults(faults)),
        }),
        Err(ResolveError::Component(why)) => Err(InvalidRecord::Component(why)),
        Err(ResolveError::NotOffered(export)) => Err(InvalidRecord::NotOffered(export)),
        Err(ResolveError::Late) => Err(InvalidRecord::Late),
        Err(ResolveError::Overloaded) => Err(InvalidRecord::Overloaded),
        Err(other) => Err(InvalidRecord::Component(other.to_string().into())),
    }
}

impl Reply for Checked {
    /// What the origin would refuse, and the caller be blamed for.
    fn check(&self) -> Result<(), String> {
        let Ok(canonical) = self else {
            return Ok(());
        };
        if canonical.len() > RECORD_LIMIT {
            let size = canonical.len();
            return Err(format!("it made a record of {size} bytes"));
        }
        match serde_json::from_str::<Map<String, Value>>(canonical) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("it made a record that is no JSON object: {error}")),
        }
    }

    /// A record that is refused is an answer, too.
    fn answers(&self) -> impl Iterator<Item = Result<(), &Failure>> {
        std::iter::once(Ok(()))
    }
}

/// Why a text cannot be told as a JSON object, if it cannot.
pub fn check_object(text: &str) -> Result<(), String> {
    if text.len() > RECORD_LIMIT {
        return Err(format!("are {} bytes", text.len()));
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if json.get().starts_with('{') => Ok(()),
        Ok(_) => Err("are no JSON object".to_owned()),
        Err(error) => Err(format!("are no JSON: {error}")),
    }
}

pub fn is_heavy(length: usize) -> bool {
    length > PROMPT_LIMIT
}

/// Names of texts rather than texts: those who look at differences see no record, and no pointer,
/// which has users in it.
pub fn show(checked: &Checked) -> Shown {
    let fields = match checked {
        Ok(canonical) => json!({"valid": true, "record": name(canonical)}),
        Err(Invalid::Malformed(_)) => json!({"valid": false, "malformed": true}),
        Err(Invalid::Faults(faults)) => {
            let mut pointers: Vec<&str> = faults.iter().map(|fault| &*fault.pointer).collect();
            pointers.sort_unstable();
            let places = name(&pointers.join("\n"));
            json!({"valid": false, "faults": faults.len(), "places": places})
        }
    };
    Shown {
        revision: None,
        fields,
    }
}

fn name(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..8].to_owned()
}
