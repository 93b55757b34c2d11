//! What a policy record may be (DESIGN 4.1, 7.1): from text to a decoded policy, or to all of its
//! faults. The same check guards what is stored and what is read. Not here: limits that requests
//! share (`limits`), how bodies are read (`body`).

mod quick;

use crate::body::{self, boolean, count, glob, id, items, members, number, word};
use crate::faults::{Faults, Path};
use crate::json::Json;
use crate::limits;
use crate::policy::{Candidate, Fields, Policy, UserPolicy};
use crate::words::{EgressMode, Fault, Invalid};

const POLICY: &[&str] = &[
    "defaultProvider",
    "defaultModel",
    "allowRemoteEgress",
    "egressMode",
    "allowOffMode",
    "tasks",
    "userPolicies",
    "allowedModels",
];
const TASK: &[&str] = &["task", "provider", "model", "temperature", "maxTokens"];
const USER: &[&str] = &["egressMode", "allowOffMode"];

/// Canonical text is hardly ever longer than what was written: it can only grow by numbers like
/// `1e15`, to four times their length. A text below this part of the limit needs no measuring.
const SURELY_SMALL: usize = limits::RECORD / 8;
/// The longest number of canonical text; a task has two at most.
const NUMBER: usize = 24;

/// Checks a record that is to be stored and returns its canonical text (RFC 8785): of the record as
/// it was given, so absent and empty stay what they were.
pub fn validate(text: &str) -> Result<String, Invalid> {
    let tree = body::parse(text)?;
    let mut faults = Faults::default();
    // First: faults of a thousand entries could leave no room.
    check_counts(&tree, &mut faults);
    check(&tree, &mut faults);
    let canonical = tree.canonical();
    check_size(canonical.as_deref(), &mut faults);
    match canonical {
        Some(canonical) if faults.is_empty() => Ok(canonical),
        _ => Err(Invalid::Faults(faults.into_list())),
    }
}

/// Reads a stored record by the rules of [`validate`], but for the limits of counts: they are for
/// what is written from now on.
pub fn decode(text: &str) -> Result<Policy, Vec<Fault>> {
    quick::decode(text).map_or_else(|| decode_at_length(text), Ok)
}

/// Reads a record the long way, which knows every fault.
fn decode_at_length(text: &str) -> Result<Policy, Vec<Fault>> {
    body::read_stored(text, |tree, faults| {
        let fields = check(tree, faults);
        if text.len() > SURELY_SMALL {
            check_size(tree.canonical().as_deref(), faults);
        }
        fields.filter(|_| faults.is_empty()).map(Policy::pack)
    })
}

fn check_size(canonical: Option<&str>, faults: &mut Faults) {
    if canonical.is_some_and(|text| text.len() > limits::RECORD) {
        faults.add(&Path::Root, limits::RECORD_RULE);
    }
}

fn check_counts(tree: &Json, faults: &mut Faults) {
    let Json::Object(members) = tree else {
        return;
    };
    for (name, json) in members {
        let limit = limits::COUNTS.iter().find(|(of, _)| of == name);
        let count = match json {
            Json::Array(items) => items.len(),
            Json::Object(entries) => entries.len(),
            _ => 0,
        };
        if let Some((_, most)) = limit
            && count > *most
        {
            let message = format!("must have at most {most} entries, has {count}");
            faults.add(&Path::Root.member(name), message);
        }
    }
}

/// Adds all faults of the tree. What it returns means nothing if there are any.
fn check<'a>(tree: &'a Json, faults: &mut Faults) -> Option<Fields<'a>> {
    let root = Path::Root;
    body::duplicates(tree, &root, faults);
    let policy = members(tree, &root, POLICY, faults)?;
    let provider = policy.required("defaultProvider", faults, id);
    let model = policy.required("defaultModel", faults, id);
    let remote = policy.optional("allowRemoteEgress", faults, boolean);
    let egress_mode = policy.optional("egressMode", faults, egress_mode);
    let allow_off_mode = policy.optional("allowOffMode", faults, boolean);
    let tasks = policy.optional("tasks", faults, |json, at, faults| {
        items(json, at, faults, candidate)
    });
    let users = policy.optional("userPolicies", faults, users);
    let globs = policy.optional("allowedModels", faults, |json, at, faults| {
        items(json, at, faults, glob)
    });
    Some(Fields {
        allow_remote_egress: remote.unwrap_or(true),
        egress_mode,
        allow_off_mode,
        tasks: tasks.unwrap_or_default(),
        users: users.unwrap_or_default(),
        allowed_models: globs,
        ..Fields::new(provider?, model?)
    })
}

fn candidate<'a>(json: &'a Json, at: &Path<'_>, faults: &mut Faults) -> Option<Candidate<'a>> {
    let entry = members(json, at, TASK, faults)?;
    let task = entry.required("task", faults, id);
    let provider = entry.required("provider", faults, id);
    let model = entry.required("model", faults, id);
    let temperature = entry.optional("temperature", faults, |json, at, faults| {
        number(json, at, faults, 2.0, limits::TEMPERATURE_RULE)
    });
    let max_tokens = entry.optional("maxTokens", faults, count);
    Some(Candidate {
        task: task?,
        provider: provider?,
        model: model?,
        temperature,
        max_tokens,
    })
}

fn users<'a>(json: &'a Json, at: &Path<'_>, faults: &mut Faults) -> Option<Vec<UserPolicy<'a>>> {
    let Json::Object(entries) = json else {
        faults.add(
            at,
            format!("must be an object of users, not {}", json.kind()),
        );
        return None;
    };
    let mut users = Vec::with_capacity(entries.len());
    for (user, entry) in entries {
        let at = at.member(user);
        if let Some(message) = limits::user_fault(user) {
            faults.add(&at, format!("as a user's id it {message}"));
        }
        users.extend(user_policy(user, entry, &at, faults));
    }
    Some(users)
}

fn user_policy<'a>(
    user: &'a str,
    json: &Json,
    at: &Path<'_>,
    faults: &mut Faults,
) -> Option<UserPolicy<'a>> {
    let entry = members(json, at, USER, faults)?;
    let egress_mode = entry.optional("egressMode", faults, egress_mode);
    let allow_off_mode = entry.optional("allowOffMode", faults, boolean);
    Some(UserPolicy {
        user,
        egress_mode,
        allow_off_mode,
    })
}

const MODES: [(&str, EgressMode); 3] = [
    ("enforce", EgressMode::Enforce),
    ("report-only", EgressMode::ReportOnly),
    ("off", EgressMode::Off),
];

fn egress_mode(json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<EgressMode> {
    word(json, at, faults, &MODES)
}

#[cfg(test)]
mod tests;
