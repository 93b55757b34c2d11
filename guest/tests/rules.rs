//! Random policies and requests: the crate against the oracle.

mod oracle;
mod support;

use guest::resolve::{Instance, resolve};
use guest::validate::{decode, validate};
use guest::words::Invalid;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use support::{OneRecord, decision_json, deployment, record, request, request_of};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_the_one_that_the_oracle_reads_from_the_rules(
        record in record(),
        requests in prop::collection::vec(request(), 1..6),
        deployment in deployment(),
    ) {
        let text = validate(&record.to_string()).expect("a valid record");
        let mut host = OneRecord { text: Some(&text), deployment: &deployment, derived: Vec::new() };
        // One instance decodes the text, the other the derived bytes that the first attached.
        let (mut first, mut second) = (Instance::default(), Instance::default());
        for request in &requests {
            let expected = oracle::decide(Some(&record), request, &deployment);
            for instance in [&mut first, &mut second] {
                let decision = resolve(instance, &mut host, &request_of(request)).expect("a decision");
                prop_assert_eq!(decision_json(&decision), expected.clone());
            }
        }
    }

    #[test]
    fn tenants_without_a_policy_are_decided_as_the_oracle_does(
        request in request(),
        deployment in deployment(),
    ) {
        let mut host = OneRecord { text: None, deployment: &deployment, derived: Vec::new() };
        let decision = resolve(&mut Instance::default(), &mut host, &request_of(&request)).expect("a decision");
        prop_assert_eq!(decision_json(&decision), oracle::decide(None, &request, &deployment));
    }

    #[test]
    fn canonical_text_says_the_same_and_is_its_own_canonical_text(record in record()) {
        prop_assert_eq!(oracle::faults(&record), Vec::<String>::new());
        let text = validate(&record.to_string()).expect("a valid record");
        let again: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(numbers_as_doubles(&again), numbers_as_doubles(&record));
        prop_assert_eq!(validate(&text), Ok(text.clone()));
        prop_assert_eq!(decode(&text).ok(), decode(&record.to_string()).ok());
    }

    #[test]
    fn a_broken_record_has_the_faults_that_the_oracle_finds(
        record in record(),
        blows in prop::collection::vec((any::<Index>(), blow()), 1..5),
    ) {
        let mut broken = record;
        for (place, blow) in blows {
            let mut places = Vec::new();
            all_places(&broken, String::new(), &mut places);
            let place = place.get(&places).clone();
            strike(&mut broken, &place, blow);
        }
        let expected = oracle::faults(&broken);
        let text = broken.to_string();
        match validate(&text) {
            Ok(_) => {
                prop_assert_eq!(expected, Vec::<String>::new());
                prop_assert!(decode(&text).is_ok());
            }
            Err(Invalid::Faults(faults)) => {
                let mut found: Vec<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
                found.sort();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(decode(&text).err(), Some(faults));
            }
            Err(Invalid::Malformed(message)) => prop_assert!(false, "{}", message),
        }
    }

    #[test]
    fn no_text_makes_the_validator_panic(text in "[\\[\\]{}\",:a-c0-9.eE+\\\\u -]{0,60}") {
        let stored = validate(&text);
        prop_assert_eq!(stored.is_ok(), decode(&text).is_ok());
        // A number that no 64 bits hold is JSON all the same, and a fault of the record.
        if let Err(error) = serde_json::from_str::<Value>(&text)
            && !error.to_string().starts_with("number out of range")
        {
            prop_assert!(matches!(stored, Err(Invalid::Malformed(_))), "{}", error);
        }
    }
}

/// What can happen to a place of a record.
#[derive(Debug, Clone)]
enum Blow {
    Replace(Value),
    Remove,
    Add(String, Value),
}

fn blow() -> impl Strategy<Value = Blow> {
    let value = || {
        prop_oneof![
            Just(json!(null)),
            Just(json!(true)),
            Just(json!("")),
            Just(json!("off")),
            Just(json!("Off")),
            Just(json!("a\u{0}")),
            Just(json!("x\u{9f}")),
            Just(json!("ä".repeat(256))),
            Just(json!("ä".repeat(257))),
            Just(json!("m".repeat(514))),
            Just(json!(0)),
            Just(json!(1.5)),
            Just(json!(2)),
            Just(json!(-1)),
            Just(json!(2.5)),
            Just(json!(2048.0)),
            Just(json!(1e300)),
            Just(json!(9007199254740992u64)),
            Just(json!([])),
            Just(json!({})),
            Just(json!([null])),
            Just(json!({ "x": null })),
        ]
    };
    let name = prop_oneof![
        "[a-c/~]{0,3}",
        Just("..".to_owned()),
        Just("maxTokens".to_owned()),
        Just("temperature".to_owned()),
        Just("egressMode".to_owned()),
        Just("tasks".to_owned()),
        Just("userPolicies".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("ä".repeat(257)),
    ];
    prop_oneof![
        3 => value().prop_map(Blow::Replace),
        1 => Just(Blow::Remove),
        2 => (name, value()).prop_map(|(name, value)| Blow::Add(name, value)),
    ]
}

fn all_places(value: &Value, at: String, places: &mut Vec<String>) {
    let name = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(object) => object
            .iter()
            .for_each(|(key, value)| all_places(value, name(key), places)),
        Value::Array(array) => {
            array
                .iter()
                .enumerate()
                .for_each(|(index, value)| all_places(value, name(&index.to_string()), places));
        }
        _ => {}
    }
    places.push(at);
}

fn strike(record: &mut Value, place: &str, blow: Blow) {
    match blow {
        Blow::Replace(value) => *record.pointer_mut(place).expect("a place") = value,
        Blow::Add(name, value) => match record.pointer_mut(place).expect("a place") {
            Value::Object(object) => drop(object.insert(name, value)),
            Value::Array(array) => array.push(value),
            other => *other = value,
        },
        Blow::Remove => {
            let Some((above, name)) = place.rsplit_once('/') else {
                return;
            };
            let name = name.replace("~1", "/").replace("~0", "~");
            match record.pointer_mut(above).expect("a place") {
                Value::Object(object) => drop(object.remove(&name)),
                Value::Array(array) => drop(array.remove(name.parse().expect("an index"))),
                _ => {}
            }
        }
    }
}

/// JSON has one kind of number, `Value` has three.
fn numbers_as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().map(f64::abs)),
        Value::Array(items) => items.iter().map(numbers_as_doubles).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), numbers_as_doubles(value)))
            .collect(),
        other => other.clone(),
    }
}
