//! One level of a config as a record (DESIGN 4.5): from text to its fields, or to all of its
//! faults, and merge patches of it. The same check guards what is stored and what is read. Not for
//! what holds in the end: levels know nothing of each other.

use crate::faults::{Faults, Path};
use crate::json::Json;
use crate::limits;
use crate::validate::fields::{self, Members, members, text_of};
use crate::validate::{boolean, parse};
use crate::words::{Fault, Invalid, MergeStrategy, PathStrategy};

const FIELDS: &[&str] = &[
    "mergeCompressionStrategy",
    "mergeMaxMessages",
    "mergePreservePinned",
    "pathCompressionStrategy",
    "pathMaxMessages",
    "pathSlidingWindowSize",
    "pathCompressionThreshold",
    "autoCompactEnabled",
    "compactionIntervalMinutes",
];

/// Longest text of a level or a patch, in bytes.
const LONGEST: usize = 16 * 1024;

const COUNT_RULE: &str = "must be an integer from 1 to 9007199254740991";
const THRESHOLD_RULE: &str = "must be a number from 0 to 1";

/// What a level sets; `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    pub merge_compression_strategy: Option<MergeStrategy>,
    pub merge_max_messages: Option<u64>,
    pub merge_preserve_pinned: Option<bool>,
    pub path_compression_strategy: Option<PathStrategy>,
    pub path_max_messages: Option<u64>,
    pub path_sliding_window_size: Option<u64>,
    pub path_compression_threshold: Option<f64>,
    pub auto_compact_enabled: Option<bool>,
    pub compaction_interval_minutes: Option<u64>,
}

/// Checks a level that is to be stored and returns its canonical text (RFC 8785).
pub fn validate(text: &str) -> Result<String, Invalid> {
    let tree = small(text)?;
    let mut faults = Faults::default();
    check(&tree, &mut faults);
    canonical(&tree, faults)
}

/// Reads a stored level by the rules of [`validate`].
pub fn decode(text: &str) -> Result<Fields, Vec<Fault>> {
    let tree = match parse(text) {
        Ok(tree) => tree,
        Err(Invalid::Faults(faults)) => return Err(faults),
        Err(Invalid::Malformed(message)) => {
            let mut faults = Faults::default();
            faults.add(&Path::Root, format!("is not JSON: {message}"));
            return Err(faults.into_list());
        }
    };
    let mut faults = Faults::default();
    match check(&tree, &mut faults) {
        Some(fields) if faults.is_empty() => Ok(fields),
        _ => Err(faults.into_list()),
    }
}

/// What a stored level becomes by a merge patch (RFC 7396), as canonical text.
pub fn patch(level: &str, patch: &str) -> Result<String, Invalid> {
    let patch = small(patch)?;
    let mut faults = Faults::default();
    let Ok(stored) = parse(level) else {
        faults.add(&Path::Root, "cannot be applied: what is stored is not JSON");
        return Err(Invalid::Faults(faults.into_list()));
    };
    fields::duplicates(&patch, &Path::Root, &mut faults);
    let (Json::Object(changes), Json::Object(mut members)) = (&patch, stored) else {
        let kind = patch.kind();
        faults.add(
            &Path::Root,
            format!("must be an object of the fields to change, not {kind}"),
        );
        return Err(Invalid::Faults(faults.into_list()));
    };
    for (name, value) in changes {
        let is_known = FIELDS.contains(&name.as_str());
        // What is not known cannot be set, and not cleared unless it is there: most likely a slip
        // of the pen. It never enters the level, which therefore stays small.
        if !is_known && (*value != Json::Null || !members.iter().any(|(stored, _)| stored == name))
        {
            fields::unknown(name, &Path::Root, FIELDS, &mut faults);
            continue;
        }
        members.retain(|(stored, _)| stored != name);
        if *value != Json::Null {
            members.push((name.clone(), value.clone()));
        }
    }
    let merged = Json::Object(members);
    check(&merged, &mut faults);
    canonical(&merged, faults)
}

/// Nine fields need no more.
fn small(text: &str) -> Result<Json, Invalid> {
    if text.len() > LONGEST {
        let mut faults = Faults::default();
        faults.add(
            &Path::Root,
            format!("must not be longer than {LONGEST} bytes"),
        );
        return Err(Invalid::Faults(faults.into_list()));
    }
    parse(text)
}

fn canonical(tree: &Json, faults: Faults) -> Result<String, Invalid> {
    match tree.canonical() {
        Some(canonical) if faults.is_empty() => Ok(canonical),
        _ => Err(Invalid::Faults(faults.into_list())),
    }
}

/// Adds all faults of the tree. What it returns means nothing if there are any.
fn check(tree: &Json, faults: &mut Faults) -> Option<Fields> {
    let root = Path::Root;
    fields::duplicates(tree, &root, faults);
    let level = members(tree, &root, FIELDS, faults)?;
    let mut count = |level: &Members<'_, '_>, name| level.optional(name, faults, count);
    Some(Fields {
        merge_max_messages: count(&level, "mergeMaxMessages"),
        path_max_messages: count(&level, "pathMaxMessages"),
        path_sliding_window_size: count(&level, "pathSlidingWindowSize"),
        compaction_interval_minutes: count(&level, "compactionIntervalMinutes"),
        merge_compression_strategy: level.optional(
            "mergeCompressionStrategy",
            faults,
            |j, a, f| one_of(j, a, f, &MERGE),
        ),
        path_compression_strategy: level.optional("pathCompressionStrategy", faults, |j, a, f| {
            one_of(j, a, f, &PATH)
        }),
        merge_preserve_pinned: level.optional("mergePreservePinned", faults, boolean),
        auto_compact_enabled: level.optional("autoCompactEnabled", faults, boolean),
        path_compression_threshold: level.optional("pathCompressionThreshold", faults, threshold),
    })
}

const MERGE: [(&str, MergeStrategy); 4] = [
    ("none", MergeStrategy::None),
    ("minimal", MergeStrategy::Minimal),
    ("moderate", MergeStrategy::Moderate),
    ("aggressive", MergeStrategy::Aggressive),
];
const PATH: [(&str, PathStrategy); 4] = [
    ("none", PathStrategy::None),
    ("sliding_window", PathStrategy::SlidingWindow),
    ("semantic", PathStrategy::Semantic),
    ("hybrid", PathStrategy::Hybrid),
];

fn one_of<T: Copy>(
    json: &Json,
    at: &Path<'_>,
    faults: &mut Faults,
    words: &[(&str, T); 4],
) -> Option<T> {
    let text = text_of(json, at, faults)?;
    let known = words.iter().find(|(word, _)| *word == text);
    if known.is_none() {
        let [(a, _), (b, _), (c, _), (d, _)] = words;
        faults.add(at, format!("must be `{a}`, `{b}`, `{c}` or `{d}`"));
    }
    known.map(|(_, value)| *value)
}

fn count(json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<u64> {
    match json {
        // In this range every double without a fraction is that very integer.
        Json::Number(value)
            if value.fract() == 0.0 && (1.0..=limits::MAX_TOKENS as f64).contains(value) =>
        {
            Some(*value as u64)
        }
        json => refuse(json, at, faults, COUNT_RULE),
    }
}

fn threshold(json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<f64> {
    match json {
        // JSON has a negative zero, canonical JSON has not.
        Json::Number(value) if (0.0..=1.0).contains(value) => Some(value.abs()),
        json => refuse(json, at, faults, THRESHOLD_RULE),
    }
}

fn refuse<T>(json: &Json, at: &Path<'_>, faults: &mut Faults, rule: &str) -> Option<T> {
    let message = match json {
        Json::Number(_) => rule.to_owned(),
        json => format!("{rule}, not {}", json.kind()),
    };
    faults.add(at, message);
    None
}

#[cfg(test)]
pub(in crate::config) mod tests;
