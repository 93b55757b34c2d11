use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{FIELDS, Json, NAMES, decode, patch, validate};
use crate::limits;
use crate::words::Invalid;

fn pointers(outcome: Result<String, Invalid>) -> Vec<String> {
    match outcome {
        Err(Invalid::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
        other => panic!("no faults: {other:?}"),
    }
}

#[test]
fn a_level_holds_what_was_set_and_nothing_else() {
    for text in [
        "{}",
        r#"{"mergeMaxMessages":7}"#,
        r#"{"autoCompactEnabled":false,"compactionIntervalMinutes":1,"mergeCompressionStrategy":"none","mergeMaxMessages":1,"mergePreservePinned":false,"pathCompressionStrategy":"hybrid","pathCompressionThreshold":0,"pathMaxMessages":9007199254740991,"pathSlidingWindowSize":1}"#,
    ] {
        assert_eq!(validate(text).as_deref(), Ok(text));
    }
    let loose = " { \"pathMaxMessages\" : 5.0, \"mergeMaxMessages\" : 1e2 } ";
    let strict = r#"{"mergeMaxMessages":100,"pathMaxMessages":5}"#;
    assert_eq!(validate(loose).as_deref(), Ok(strict));
    assert_eq!(decode("{}"), Ok([None; FIELDS.len()]));
}

#[test]
fn all_faults_of_a_level_are_listed_with_their_pointers() {
    let broken = json!({
        "mergeCompressionStrategy": "extreme", "mergeMaxMessages": 0, "mergePreservePinned": "yes",
        "pathCompressionStrategy": "sliding-window", "pathMaxMessages": 1.5, "pathSlidingWindowSize": -1,
        "pathCompressionThreshold": 1.01, "autoCompactEnabled": null, "compactionIntervalMinutes": "60",
        "mergeMaxMesages": 5, "a/b": {"c": 1},
    });
    let mut listed = pointers(validate(&broken.to_string()));
    listed.sort();
    let mut expected: Vec<String> = NAMES.iter().map(|name| format!("/{name}")).collect();
    expected.extend(["/mergeMaxMesages".to_owned(), "/a~1b".to_owned()]);
    expected.sort();
    assert_eq!(listed, expected);
    for (text, pointer) in [
        (
            r#"{"mergeMaxMessages":1,"mergeMaxMessages":1}"#,
            "/mergeMaxMessages",
        ),
        ("[]", ""),
        ("7", ""),
        ("null", ""),
    ] {
        assert_eq!(pointers(validate(text)), [pointer], "{text}");
    }
    for text in ["", "{", "{}x", "{'a':1}"] {
        assert!(
            matches!(validate(text), Err(Invalid::Malformed(_))),
            "{text}"
        );
    }
}

#[test]
fn a_patch_changes_what_it_names() {
    let level = r#"{"mergeMaxMessages":7,"mergePreservePinned":true}"#;
    for (change, expected) in [
        ("{}", level),
        (
            r#"{"mergeMaxMessages":8}"#,
            r#"{"mergeMaxMessages":8,"mergePreservePinned":true}"#,
        ),
        (
            r#"{"mergeMaxMessages":null}"#,
            r#"{"mergePreservePinned":true}"#,
        ),
        (r#"{"pathMaxMessages":null}"#, level),
        (
            r#"{"mergeMaxMessages":null,"mergePreservePinned":null,"autoCompactEnabled":false}"#,
            r#"{"autoCompactEnabled":false}"#,
        ),
    ] {
        assert_eq!(patch(level, change).as_deref(), Ok(expected), "{change}");
    }
}

#[test]
fn a_patch_that_is_wrong_changes_nothing_and_says_where() {
    let level = r#"{"mergeMaxMessages":7}"#;
    for (change, expected) in [
        ("[]", vec![""]),
        ("null", vec![""]),
        ("\"text\"", vec![""]),
        (
            r#"{"mergeMaxMessages":0,"nothing":1}"#,
            vec!["/mergeMaxMessages", "/nothing"],
        ),
        (r#"{"mergeMaxMesages":null}"#, vec!["/mergeMaxMesages"]),
        (
            r#"{"mergeMaxMessages":{"a":null}}"#,
            vec!["/mergeMaxMessages"],
        ),
        (
            r#"{"mergeMaxMessages":null,"mergeMaxMessages":5}"#,
            vec!["/mergeMaxMessages"],
        ),
    ] {
        let mut listed = pointers(patch(level, change));
        listed.sort();
        assert_eq!(listed, expected, "{change}");
    }
    assert!(matches!(patch(level, "{"), Err(Invalid::Malformed(_))));
    // What a newer component has stored can be cleared, and is not lost unseen.
    let newer = r#"{"mergeMaxMessages":7,"newField":1}"#;
    assert_eq!(patch(newer, r#"{"newField":null}"#).as_deref(), Ok(level));
    assert_eq!(
        pointers(patch(newer, r#"{"mergeMaxMessages":8}"#)),
        ["/newField"]
    );
}

fn words(words: [&'static str; 4]) -> BoxedStrategy<Value> {
    prop::sample::select(words.to_vec())
        .prop_map(Value::from)
        .boxed()
}

/// A value of a field, or null.
fn member() -> impl Strategy<Value = (String, Value)> {
    let count = prop_oneof![1..10_000_u64, Just(limits::MAX_COUNT)].prop_map(Value::from);
    let of = |name: &'static str, value: BoxedStrategy<Value>| {
        prop_oneof![3 => value, 1 => Just(Value::Null)]
            .prop_map(move |value| (name.to_owned(), value))
    };
    let merge = words(["none", "minimal", "moderate", "aggressive"]);
    let path = words(["none", "sliding_window", "semantic", "hybrid"]);
    let threshold = prop_oneof![(0.0..=1.0_f64), (1e-12..1e-4_f64)].prop_map(Value::from);
    let flag = any::<bool>().prop_map(Value::from);
    prop_oneof![
        of("mergeCompressionStrategy", merge),
        of("mergeMaxMessages", count.clone().boxed()),
        of("mergePreservePinned", flag.clone().boxed()),
        of("pathCompressionStrategy", path),
        of("pathMaxMessages", count.clone().boxed()),
        of("pathSlidingWindowSize", count.clone().boxed()),
        of("pathCompressionThreshold", threshold.boxed()),
        of("autoCompactEnabled", flag.boxed()),
        of("compactionIntervalMinutes", count.boxed()),
    ]
}

pub(in crate::config) fn patches() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(member(), 0..7).prop_map(|members| members.into_iter().collect())
}

/// RFC 7396 as its pseudo-code has it, on serde_json's own values.
pub(in crate::config) fn rfc_7396(
    target: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Map<String, Value> {
    let mut target = target.clone();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            target.insert(name.clone(), value.clone());
        }
    }
    target
}

fn text(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn patches_follow_rfc_7396_and_their_laws(first in patches(), second in patches()) {
        let level = patch("{}", &text(&first)).expect("sound");
        let stored: Map<String, Value> = serde_json::from_str(&level).expect("an object");
        let same = |a: &str, b: &Map<String, Value>| {
            let tree = Json::parse(&text(b)).expect("JSON").canonical();
            tree.as_deref() == Some(a)
        };
        prop_assert!(same(&level, &rfc_7396(&Map::new(), &first)));
        prop_assert_eq!(validate(&level), Ok(level.clone()), "canonical stays as it is");

        let once = patch(&level, &text(&second)).expect("sound");
        prop_assert!(same(&once, &rfc_7396(&stored, &second)));
        prop_assert_eq!(patch(&once, &text(&second)), Ok(once.clone()), "idempotent");
        prop_assert_eq!(patch(&level, "{}"), Ok(level), "neutral");
        // Two patches are one patch of both.
        let mut both = first.clone();
        both.extend(second.clone());
        prop_assert_eq!(patch("{}", &text(&both)).expect("sound"), once);
    }
}
