//! One level of a config as a record (DESIGN 4.5): from text to its fields, or to all of its
//! faults, and merge patches of it. The same check guards what is stored and what is read. Not for
//! what holds in the end: levels know nothing of each other.

use super::fields::{FIELDS, NAMES, Value};
use crate::body::{self, members, parse};
use crate::faults::{Faults, Path};
use crate::json::Json;
use crate::words::{Fault, Invalid};

/// Longest text of a level or a patch, in bytes: these fields need no more.
const LONGEST: usize = 16 * 1024;

/// What a level sets, in the order of [`FIELDS`]; `None`: nothing.
pub type Set = [Option<Value>; FIELDS.len()];

/// Checks a level that is to be stored and returns its canonical text (RFC 8785).
pub fn validate(text: &str) -> Result<String, Invalid> {
    let tree = small(text)?;
    let mut faults = Faults::default();
    check(&tree, &mut faults);
    body::write_canonical(&tree, faults)
}

/// Reads a stored level by the rules of [`validate`].
pub fn decode(text: &str) -> Result<Set, Vec<Fault>> {
    body::read_stored(text, check)
}

/// What a stored level becomes by a merge patch (RFC 7396), as canonical text.
pub fn patch(level: &str, patch: &str) -> Result<String, Invalid> {
    let patch = small(patch)?;
    let mut faults = Faults::default();
    let Ok(stored) = parse(level) else {
        return Err(body::refuse(
            "cannot be applied: what is stored is not JSON",
        ));
    };
    body::duplicates(&patch, &Path::Root, &mut faults);
    let (Json::Object(changes), Json::Object(mut members)) = (&patch, stored) else {
        let kind = patch.kind();
        faults.add(
            &Path::Root,
            format!("must be an object of the fields to change, not {kind}"),
        );
        return Err(Invalid::Faults(faults.into_list()));
    };
    for (name, value) in changes {
        let is_known = NAMES.contains(&name.as_str());
        // What is not known cannot be set, and not cleared unless it is there: most likely a slip
        // of the pen. It never enters the level, which therefore stays small.
        if !is_known && (*value != Json::Null || !members.iter().any(|(stored, _)| stored == name))
        {
            body::unknown(name, &Path::Root, &NAMES, &mut faults);
            continue;
        }
        members.retain(|(stored, _)| stored != name);
        if *value != Json::Null {
            members.push((name.clone(), value.clone()));
        }
    }
    let merged = Json::Object(members);
    check(&merged, &mut faults);
    body::write_canonical(&merged, faults)
}

fn small(text: &str) -> Result<Json, Invalid> {
    if text.len() > LONGEST {
        return Err(body::refuse(format!(
            "must not be longer than {LONGEST} bytes"
        )));
    }
    parse(text)
}

/// Adds all faults of the tree. What it returns means nothing if there are any.
fn check(tree: &Json, faults: &mut Faults) -> Option<Set> {
    let root = Path::Root;
    body::duplicates(tree, &root, faults);
    let level = members(tree, &root, &NAMES, faults)?;
    let mut set = [None; FIELDS.len()];
    for (value, field) in set.iter_mut().zip(&FIELDS) {
        let read = |json: &Json, at: &Path<'_>, faults: &mut Faults| field.read(json, at, faults);
        *value = level.optional(field.name, faults, read);
    }
    Some(set)
}

#[cfg(test)]
pub(in crate::config) mod tests;
