//! A subject as the guest names it, still in its memory, and which names are none. Not for whose
//! record it is (`link`, `near`).

use wasmtime::component::{ComponentType, Lift, WasmList, WasmStr};

use super::Limit;
use crate::world::bindings::types::Scope;
use ordain_store::ids::{ID_LIMIT, USER_CONFIG};

/// Subjects of one look-up.
const SUBJECTS_MAX: usize = 64;
/// Longest name of a subject, in bytes: `config/` and the longest id.
const NAME_MAX: usize = USER_CONFIG.len() + 4 * ID_LIMIT;

/// `types.subject`, its name still in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub struct SubjectRef {
    pub scope: Scope,
    pub name: WasmStr,
}

/// Before anything is read of a list, or kept for it.
pub fn check_length(subjects: &WasmList<SubjectRef>) -> wasmtime::Result<()> {
    match subjects.len() {
        ..=SUBJECTS_MAX => Ok(()),
        asked => Err(wasmtime::Error::new(Limit::Subjects(asked))),
    }
}

pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte);
    (1..=NAME_MAX).contains(&name.len())
        && (name.bytes().all(plain) || !name.chars().any(char::is_control))
}
