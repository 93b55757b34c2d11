//! How an answer differs from what was expected, in words.

use serde_json::Value;

pub enum Difference {
    Answer(String),
    /// It will not do better with the next one.
    Failure(String),
    /// The machine had no time for it.
    Busy(String),
}

pub fn compare_faults(mut found: Vec<String>, expected: &[String]) -> Result<(), Difference> {
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    if found == expected {
        return Ok(());
    }
    Err(Difference::Answer(format!(
        "faults are reported at {}, and they are at {}",
        found.join(", "),
        expected.join(", ")
    )))
}

/// The first difference of two answers, with its pointer.
pub fn find_difference(found: &Value, expected: &Value, pointer: &str) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names: std::collections::BTreeSet<&String> =
                found.keys().chain(expected.keys()).collect();
            names.into_iter().find_map(|name| {
                let pointer = format!("{pointer}/{name}");
                match (found.get(name), expected.get(name)) {
                    (Some(found), Some(expected)) => find_difference(found, expected, &pointer),
                    (Some(found), None) => Some(format!("{pointer} is {found}, expected nothing")),
                    (None, Some(expected)) => {
                        Some(format!("{pointer} is absent, expected {expected}"))
                    }
                    (None, None) => None,
                }
            })
        }
        (found, expected) if found == expected => None,
        (found, expected) => Some(format!("{pointer} is {found}, expected {expected}")),
    }
}
