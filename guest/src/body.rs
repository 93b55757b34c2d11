//! The one reader of JSON bodies: from text to a tree, and from the tree what a record wants of it,
//! member by member. Whatever is wrong becomes a fault with its pointer, and reading goes on, so
//! that all are listed. No record is named here, and no field of one.

use crate::faults::{Faults, Path};
use crate::json::Json;
use crate::limits;
use crate::words::{Fault, Invalid};

/// The tree of a text that may be a record.
pub fn parse(text: &str) -> Result<Json, Invalid> {
    // Far beyond the limit the tree itself could be too much for the memory of an instance.
    if text.len() > 4 * limits::RECORD {
        return Err(refuse(limits::RECORD_RULE));
    }
    Json::parse(text).map_err(|message| {
        // JSON by its grammar, but no reader could keep the number: a fault of the record.
        if message.starts_with("number out of range") {
            refuse(format!("holds a {message}"))
        } else {
            Invalid::Malformed(message)
        }
    })
}

/// Reads a text that is stored: that it is no JSON is a fault like any other.
pub fn read_stored<T>(
    text: &str,
    read: impl FnOnce(&Json, &mut Faults) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::default();
    let read = match parse(text) {
        Ok(tree) => read(&tree, &mut faults),
        Err(Invalid::Faults(faults)) => return Err(faults),
        Err(Invalid::Malformed(message)) => {
            faults.add(&Path::Root, format!("is not JSON: {message}"));
            None
        }
    };
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(faults.into_list()),
    }
}

/// The canonical text of a tree, unless it has faults.
pub fn write_canonical(tree: &Json, faults: Faults) -> Result<String, Invalid> {
    match tree.canonical() {
        Some(canonical) if faults.is_empty() => Ok(canonical),
        _ => Err(Invalid::Faults(faults.into_list())),
    }
}

/// A fault of the whole.
pub fn refuse(message: impl Into<String>) -> Invalid {
    let mut faults = Faults::default();
    faults.add(&Path::Root, message);
    Invalid::Faults(faults.into_list())
}

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

/// Reads one of a few words.
pub fn word<T: Copy>(
    json: &Json,
    at: &Path<'_>,
    faults: &mut Faults,
    words: &[(&str, T)],
) -> Option<T> {
    let text = text_of(json, at, faults)?;
    let known = words.iter().find(|(word, _)| *word == text);
    if known.is_none() {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let (last, others) = words.split_last()?;
        faults.add(at, format!("must be {} or {last}", others.join(", ")));
    }
    known.map(|(_, value)| *value)
}

pub fn boolean(json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<bool> {
    let Json::Bool(value) = json else {
        faults.add(at, format!("must be true or false, not {}", json.kind()));
        return None;
    };
    Some(*value)
}

/// Reads a number from 0 to `most`; `rule` says so.
pub fn number(
    json: &Json,
    at: &Path<'_>,
    faults: &mut Faults,
    most: f64,
    rule: &str,
) -> Option<f64> {
    match json {
        // JSON has a negative zero, canonical JSON has not.
        Json::Number(value) if (0.0..=most).contains(value) => Some(value.abs()),
        json => refuse_number(json, at, faults, rule),
    }
}

/// Reads an integer from 1 to the highest that every JSON reader keeps exactly.
pub fn count(json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    match json {
        // In this range every double without a fraction is that very integer.
        Json::Number(value)
            if value.fract() == 0.0 && (1.0..=limits::MAX_COUNT as f64).contains(value) =>
        {
            Some(*value as u64)
        }
        json => refuse_number(json, at, faults, limits::COUNT_RULE),
    }
}

fn refuse_number<T>(json: &Json, at: &Path<'_>, faults: &mut Faults, rule: &str) -> Option<T> {
    let message = match json {
        Json::Number(_) => rule.to_owned(),
        json => format!("{rule}, not {}", json.kind()),
    };
    faults.add(at, message);
    None
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
