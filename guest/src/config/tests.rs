use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::level::tests::{patches, rfc_7396};
use super::{Level, effective, level};
use crate::ports::fake::settings;
use crate::ports::{LookedUp, Settings, State, Unavailable, View};
use crate::ports::{Ports, Present, Scope, Severity, Subject};
use crate::resolve::Instance;
use crate::words::Tier;
use crate::words::{Effective, Failure};

/// A host with some levels in its origin, and what it was asked.
#[derive(Default)]
struct Host {
    /// By scope and name.
    levels: HashMap<(bool, String), (String, u64)>,
    /// Names that near has; of the others it says nothing.
    near: Vec<(bool, String)>,
    held: Vec<Option<Option<(String, u64)>>>,
    calls: Vec<String>,
    messages: Vec<String>,
}

fn key(subject: &Subject<'_>) -> (bool, String) {
    (subject.scope == Scope::Fleet, subject.name.to_owned())
}

impl Host {
    fn set(&mut self, level: Level, text: &str, revision: u64) {
        let name = match level {
            Level::User => "config/ann",
            _ => "config",
        };
        let key = (level == Level::Global, name.to_owned());
        self.levels.insert(key, (text.to_owned(), revision));
    }

    fn asked(&mut self, tier: Tier, subjects: &[Subject<'_>], all: bool) -> LookedUp {
        let names =
            subjects.iter().map(key).map(
                |(fleet, name)| {
                    if fleet { format!("fleet {name}") } else { name }
                },
            );
        self.calls.push(format!(
            "{tier:?}: {}",
            names.collect::<Vec<_>>().join(", ")
        ));
        let held = subjects
            .iter()
            .map(key)
            .map(|key| (all || self.near.contains(&key)).then(|| self.levels.get(&key).cloned()));
        self.held = held.collect();
        LookedUp::View(View {
            position: 90,
            age_ms: 5,
            tier,
        })
    }
}

impl Ports for Host {
    fn settings(&mut self) -> Settings {
        settings()
    }

    fn remaining_ms(&mut self) -> u32 {
        900
    }

    fn log(&mut self, _severity: Severity, message: &str) {
        self.messages.push(message.to_owned());
    }

    fn near(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        self.asked(Tier::Near, subjects, false)
    }

    fn far(&mut self, _subjects: &[Subject<'_>]) -> LookedUp {
        LookedUp::Unavailable(Unavailable::Off)
    }

    fn origin(&mut self, subjects: &[Subject<'_>], _min_revision: u64) -> LookedUp {
        self.asked(Tier::Origin, subjects, true)
    }

    fn catch_up(&mut self, _min_revision: u64, _wait_ms: u32) -> LookedUp {
        LookedUp::Unavailable(Unavailable::Failed)
    }

    fn entry(&mut self, index: u32) -> State {
        match &self.held[index as usize] {
            None => State::Missing,
            Some(None) => State::Absent,
            Some(Some((_, revision))) => State::Present(Present {
                fill: 0,
                revision: *revision,
            }),
        }
    }

    fn text(&mut self, index: u32) -> String {
        let held = self.held[index as usize].clone().flatten();
        held.map(|(text, _)| text).unwrap_or_default()
    }

    fn derived(&mut self, _index: u32) -> Vec<u8> {
        Vec::new()
    }

    fn attach(&mut self, _index: u32, _bytes: &[u8]) {}

    fn keep(&mut self, index: u32, _far_ttl_ms: u32) -> u64 {
        self.calls.push(format!("keep {index}"));
        7
    }
}

fn ask(host: &mut Host, user: Option<&str>) -> Result<Effective, Failure> {
    effective(&mut Instance::default(), host, user, 0)
}

#[test]
fn without_any_level_every_field_has_its_default() {
    let mut host = Host::default();
    let answer = ask(&mut host, Some("ann")).expect("an answer");
    let none = Map::new();
    assert_eq!(shown(&answer), oracle([&none, &none, &none]));
    assert_eq!(answer.provenance.revision, None);
    assert_eq!(
        host.calls,
        [
            "Near: fleet config, config, config/ann",
            "Origin: fleet config, config, config/ann",
            "keep 0",
            "keep 1",
            "keep 2"
        ]
    );
    let mut host = Host::default();
    ask(&mut host, None).expect("an answer");
    assert_eq!(host.calls[0], "Near: fleet config, config");
}

#[test]
fn a_field_that_a_level_does_not_set_shines_through() {
    // What the predecessor answered here was 100 and `moderate`.
    let mut host = Host::default();
    host.set(Level::Global, r#"{"mergeMaxMessages":7}"#, 11);
    host.set(
        Level::Tenant,
        r#"{"mergeCompressionStrategy":"aggressive"}"#,
        13,
    );
    host.set(Level::User, r#"{"autoCompactEnabled":false}"#, 12);
    let answer = ask(&mut host, Some("ann")).expect("an answer");
    let set = shown(&answer);
    assert_eq!(set["mergeMaxMessages"], json!([7, "global"]));
    assert_eq!(
        set["mergeCompressionStrategy"],
        json!(["aggressive", "tenant"])
    );
    assert_eq!(set["autoCompactEnabled"], json!([false, "user"]));
    let by_default = set.values().filter(|field| field[1] == "default");
    assert_eq!(by_default.count(), 6);
    assert_eq!(answer.provenance.revision, Some(13));
    let bob = ask(&mut host, Some("bob")).expect("an answer");
    assert_eq!(shown(&bob)["autoCompactEnabled"], json!([true, "default"]));
    let tenant = ask(&mut host, None).expect("an answer");
    assert_eq!(shown(&tenant), shown(&bob));
}

#[test]
fn fields_are_answered_in_one_order_and_as_numbers_are_written_in_records() {
    let mut host = Host::default();
    host.set(
        Level::Global,
        r#"{"pathCompressionThreshold":1,"mergeMaxMessages":9007199254740991}"#,
        1,
    );
    let answer = ask(&mut host, None).expect("an answer");
    let expected = r#"{"mergeCompressionStrategy":"moderate","mergeMaxMessages":9007199254740991,"mergePreservePinned":true,"pathCompressionStrategy":"sliding_window","pathMaxMessages":200,"pathSlidingWindowSize":50,"pathCompressionThreshold":1.0,"autoCompactEnabled":true,"compactionIntervalMinutes":60}"#;
    assert_eq!(answer.config, expected);
}

#[test]
fn near_answers_only_if_it_has_all_levels() {
    let mut host = Host {
        near: vec![(true, "config".into()), (false, "config".into())],
        ..Host::default()
    };
    ask(&mut host, Some("ann")).expect("an answer");
    assert!(host.calls[1].starts_with("Origin"), "{:?}", host.calls);
    host.near.push((false, "config/ann".into()));
    host.calls.clear();
    ask(&mut host, Some("ann")).expect("an answer");
    assert_eq!(host.calls, ["Near: fleet config, config, config/ann"]);
}

#[test]
fn a_broken_level_is_an_error_that_names_it_and_never_a_default() {
    for (level, whose) in [
        (Level::Global, "global"),
        (Level::Tenant, "tenant's"),
        (Level::User, "user's"),
    ] {
        let mut host = Host::default();
        host.set(level, r#"{"mergeMaxMessages":0,"secret":1}"#, 5);
        let Err(Failure::RecordInvalid(faults)) = ask(&mut host, Some("ann")) else {
            panic!("not refused");
        };
        assert_eq!(faults.len(), 2);
        assert!(
            faults.iter().all(|fault| fault.message.contains(whose)),
            "{faults:?}"
        );
        assert!(host.messages[0].contains(whose) && !host.messages[0].contains("secret"));
    }
}

#[test]
fn a_user_that_is_none_is_refused_before_anything_is_asked() {
    for user in ["", "..", "a\nb", &"x".repeat(257)] {
        let mut host = Host::default();
        let Err(Failure::RequestInvalid(faults)) = ask(&mut host, Some(user)) else {
            panic!("not refused: {user:?}");
        };
        assert_eq!(faults[0].pointer, "/user");
        assert!(host.calls.is_empty());
    }
}

/// DESIGN 4.5, read by itself: user, else tenant, else global, else default.
fn oracle(levels: [&Map<String, Value>; 3]) -> Map<String, Value> {
    let defaults = json!({
        "mergeCompressionStrategy": "moderate", "mergeMaxMessages": 100, "mergePreservePinned": true,
        "pathCompressionStrategy": "sliding_window", "pathMaxMessages": 200,
        "pathSlidingWindowSize": 50, "pathCompressionThreshold": 0.85, "autoCompactEnabled": true,
        "compactionIntervalMinutes": 60,
    });
    let names = ["global", "tenant", "user"];
    let defaults = defaults.as_object().expect("an object").clone();
    let fields = defaults.into_iter().map(|(field, default)| {
        let set = names.iter().zip(levels).rev();
        let set = set
            .filter_map(|(name, level)| Some((*name, level.get(&field)?.clone())))
            .next();
        let (level, value) = set.unwrap_or(("default", default));
        (field, json!([value, level]))
    });
    fields.collect()
}

/// Value and level of every field.
fn shown(answer: &Effective) -> Map<String, Value> {
    let read = |text: &str| -> Map<String, Value> { serde_json::from_str(text).expect("JSON") };
    let (config, levels) = (read(&answer.config), read(&answer.levels));
    assert_eq!(config.len(), levels.len());
    let fields = config.into_iter();
    let fields = fields.map(|(field, value)| {
        let level = levels[&field].clone();
        (field, json!([value, level]))
    });
    fields.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Writes of any level in any order: each is a merge patch of that level alone, and what holds
    /// is read off all three, field by field.
    #[test]
    fn what_holds_is_merged_field_by_field(writes in prop::collection::vec((0..3_usize, patches()), 0..12)) {
        let mut host = Host::default();
        let mut model: [Option<Map<String, Value>>; 3] = [None, None, None];
        let levels = [Level::Global, Level::Tenant, Level::User];
        let mut stored: [String; 3] = std::array::from_fn(|_| "{}".to_owned());
        for (revision, (at, patch)) in (1..).zip(&writes) {
            let text = Value::Object(patch.clone()).to_string();
            stored[*at] = level::patch(&stored[*at], &text).expect("sound");
            host.set(levels[*at], &stored[*at], revision);
            model[*at] = Some(rfc_7396(&model[*at].clone().unwrap_or_default(), patch));
            let of = |index: usize| model[index].clone().unwrap_or_default();
            let answer = ask(&mut host, Some("ann")).expect("an answer");
            prop_assert_eq!(shown(&answer), oracle([&of(0), &of(1), &of(2)]));
            prop_assert_eq!(answer.provenance.revision, Some(revision));
            let tenant = ask(&mut host, None).expect("an answer");
            prop_assert_eq!(shown(&tenant), oracle([&of(0), &of(1), &Map::new()]));
        }
    }
}
