//! Steps that every part of a record needs: members by name, lists, texts, duplicate keys. No field
//! of a policy is named here.

use crate::faults::{Faults, Path};
use crate::json::Json;
use crate::limits;

/// The members of one object, of which only `known` ones are left to be asked for.
pub struct Members<'a, 'p> {
    object: &'a [(String, Json)],
    at: &'p Path<'p>,
}

/// Takes an object and refuses the members that are not known.
pub fn members<'a, 'p>(
    json: &'a Json,
    at: &'p Path<'p>,
    known: &[&str],
    faults: &mut Faults,
) -> Option<Members<'a, 'p>> {
    let Json::Object(object) = json else {
        faults.add(at, format!("must be an object, not {}", json.kind()));
        return None;
    };
    for (name, _) in object {
        if !known.contains(&name.as_str()) {
            unknown(name, at, known, faults);
        }
    }
    Some(Members { object, at })
}

pub fn unknown(name: &str, at: &Path<'_>, known: &[&str], faults: &mut Faults) {
    faults.add(
        &at.member(name),
        format!("is no known field; known are {}", known.join(", ")),
    );
}

impl<'a> Members<'a, '_> {
    /// Reads a member that may be absent. Of a member that is there twice (a fault that
    /// [`duplicates`] lists) both are read, so that the faults of either are listed.
    pub fn optional<T>(
        &self,
        name: &str,
        faults: &mut Faults,
        read: impl Fn(&'a Json, &Path<'_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        let at = self.at.member(name);
        let mut value = None;
        for (_, json) in self.object.iter().filter(|(key, _)| key == name) {
            value = match json {
                Json::Null => {
                    faults.add(&at, "must not be null: leave the field out");
                    None
                }
                json => read(json, &at, faults),
            };
        }
        value
    }

    pub fn required<T>(
        &self,
        name: &str,
        faults: &mut Faults,
        read: impl Fn(&'a Json, &Path<'_>, &mut Faults) -> Option<T>,
    ) -> Option<T> {
        if !self.object.iter().any(|(key, _)| key == name) {
            faults.add(&self.at.member(name), "is required, but missing");
        }
        self.optional(name, faults, read)
    }
}

/// Reads every item of a list.
pub fn items<'a, T>(
    json: &'a Json,
    at: &Path<'_>,
    faults: &mut Faults,
    read: impl Fn(&'a Json, &Path<'_>, &mut Faults) -> Option<T>,
) -> Option<Vec<T>> {
    let Json::Array(array) = json else {
        faults.add(at, format!("must be a list, not {}", json.kind()));
        return None;
    };
    let mut list = Vec::with_capacity(array.len());
    for (index, item) in array.iter().enumerate() {
        list.extend(read(item, &at.item(index), faults));
    }
    Some(list)
}

pub fn text_of<'a>(json: &'a Json, at: &Path<'_>, faults: &mut Faults) -> Option<&'a str> {
    let Json::String(text) = json else {
        faults.add(at, format!("must be a string, not {}", json.kind()));
        return None;
    };
    Some(text)
}

/// Reads the id of a task, a provider or a model.
pub fn id<'a>(json: &'a Json, at: &Path<'_>, faults: &mut Faults) -> Option<&'a str> {
    limited(json, at, limits::ID, faults)
}

/// Reads an entry of `allowedModels`.
pub fn glob<'a>(json: &'a Json, at: &Path<'_>, faults: &mut Faults) -> Option<&'a str> {
    limited(json, at, limits::GLOB, faults)
}

fn limited<'a>(
    json: &'a Json,
    at: &Path<'_>,
    longest: usize,
    faults: &mut Faults,
) -> Option<&'a str> {
    let text = text_of(json, at, faults)?;
    if let Some(message) = limits::text_fault(text, longest) {
        faults.add(at, message);
        return None;
    }
    Some(text)
}

/// Lists the members of the whole tree whose name an earlier one of the same object has. The depth
/// of a tree is limited where it is parsed.
pub fn duplicates(json: &Json, at: &Path<'_>, faults: &mut Faults) {
    match json {
        Json::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                duplicates(item, &at.item(index), faults);
            }
        }
        Json::Object(object) => {
            let mut names: Vec<&str> = object.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup_by(|later, earlier| {
                let same = later == earlier;
                if same {
                    faults.add(&at.member(later), "is there more than once");
                }
                same
            });
            for (name, member) in object {
                duplicates(member, &at.member(name), faults);
            }
        }
        _ => {}
    }
}
