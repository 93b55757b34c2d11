//! Limits that records and requests share (DESIGN 4.1, 7.1), and the check of a request. The check
//! of a record is `validate`.

use crate::faults::{Faults, Path};
use crate::words::{Fault, Request};

/// Longest id, in code points.
pub const ID: usize = 256;
/// Longest entry of `allowedModels`: two ids and the slash between them.
pub const GLOB: usize = 2 * ID + 1;
/// Longest canonical text of a record, in bytes.
pub const RECORD: usize = 256 * 1024;
pub const RECORD_RULE: &str = "must not be longer than 262144 bytes (as canonical JSON)";
/// Most entries of `tasks`, `userPolicies` and `allowedModels` of a record that is to be stored.
/// One that was stored before there were such limits goes on being answered.
pub const COUNTS: [(&str, usize); 3] = [
    ("tasks", 1_000),
    ("userPolicies", 10_000),
    ("allowedModels", 1_000),
];
/// Highest count, of tokens too: the highest integer that every JSON reader keeps exactly.
pub const MAX_COUNT: u64 = (1 << 53) - 1;

pub const TEMPERATURE_RULE: &str = "must be a number from 0 to 2";
pub const COUNT_RULE: &str = "must be an integer from 1 to 9007199254740991";

pub fn temperature_is_valid(value: f64) -> bool {
    (0.0..=2.0).contains(&value)
}

/// Says what is wrong with a text of at most `longest` code points.
pub fn text_fault(text: &str, longest: usize) -> Option<String> {
    if text.is_empty() {
        return Some(format!("must have 1 to {longest} characters, has none"));
    }
    // A text of few bytes has few code points: no need to count.
    if text.len() > longest {
        let length = text.chars().count();
        if length > longest {
            return Some(format!("must have 1 to {longest} characters, has {length}"));
        }
    }
    let control = text.chars().find(|c| c.is_control())?;
    Some(format!(
        "must not contain control characters, has U+{:04X}",
        u32::from(control)
    ))
}

pub fn id_fault(id: &str) -> Option<String> {
    text_fault(id, ID)
}

/// Users stand in paths of URLs, where clients resolve `.` and `..` away.
pub fn user_fault(user: &str) -> Option<String> {
    match user {
        "." | ".." => Some("must not be `.` or `..`".to_owned()),
        _ => id_fault(user),
    }
}

/// All faults of a request; empty if it may be resolved.
pub fn request_faults(request: &Request) -> Vec<Fault> {
    let mut faults = Faults::default();
    let mut check = |name: &'static str, fault: Option<String>| {
        if let Some(message) = fault {
            faults.add(&Path::Root.member(name), message);
        }
    };
    check("user", request.user.as_deref().and_then(user_fault));
    check("task", request.task.as_deref().and_then(id_fault));
    check("model", request.model.as_deref().and_then(id_fault));
    if request
        .temperature
        .is_some_and(|value| !temperature_is_valid(value))
    {
        check("temperature", Some(TEMPERATURE_RULE.to_owned()));
    }
    if request
        .max_tokens
        .is_some_and(|value| !(1..=MAX_COUNT).contains(&value))
    {
        check("maxTokens", Some(COUNT_RULE.to_owned()));
    }
    faults.into_list()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(request: &Request) -> Vec<String> {
        request_faults(request)
            .into_iter()
            .map(|fault| fault.pointer)
            .collect()
    }

    #[test]
    fn an_id_is_counted_in_code_points() {
        assert_eq!(id_fault(&"ä".repeat(256)), None);
        assert_eq!(id_fault(&"𝄞".repeat(256)), None);
        assert!(id_fault(&"ä".repeat(257)).is_some_and(|m| m.contains("has 257")));
        assert!(id_fault("").is_some_and(|m| m.contains("has none")));
    }

    #[test]
    fn control_characters_are_named_and_nothing_else_is_refused() {
        for (id, code) in [
            ("a\0", "U+0000"),
            ("a\u{7f}", "U+007F"),
            ("\u{85}b", "U+0085"),
        ] {
            assert!(id_fault(id).is_some_and(|m| m.ends_with(code)), "{id:?}");
        }
        for id in [
            "a:b", "/", "%", " ", "default", "global", "*", ".", "\u{a0}", "日本",
        ] {
            assert_eq!(id_fault(id), None, "{id:?}");
        }
        assert!(user_fault(".").is_some() && user_fault("..").is_some());
        assert_eq!(user_fault("..."), None);
    }

    #[test]
    fn all_faults_of_a_request_are_listed() {
        let request = Request {
            user: Some("..".into()),
            task: Some(String::new()),
            model: Some("m\n".into()),
            temperature: Some(f64::NAN),
            max_tokens: Some(0),
            ..Request::default()
        };
        let expected = ["/user", "/task", "/model", "/temperature", "/maxTokens"];
        assert_eq!(pointers(&request), expected);
    }

    #[test]
    fn the_limits_themselves_are_allowed() {
        for temperature in [0.0, -0.0, 2.0] {
            for max_tokens in [1, MAX_COUNT] {
                let request = Request {
                    temperature: Some(temperature),
                    max_tokens: Some(max_tokens),
                    ..Request::default()
                };
                assert_eq!(pointers(&request), [""; 0]);
            }
        }
        for temperature in [-0.1, 2.1, f64::INFINITY, f64::NEG_INFINITY] {
            let request = Request {
                temperature: Some(temperature),
                ..Request::default()
            };
            assert_eq!(pointers(&request), ["/temperature"]);
        }
        let request = Request {
            max_tokens: Some(MAX_COUNT + 1),
            ..Request::default()
        };
        assert_eq!(pointers(&request), ["/maxTokens"]);
    }
}
