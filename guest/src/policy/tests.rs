//! The derived form: what is packed is read back, and damage harms nobody.

use super::*;

fn candidate<'a>(task: &'a str, model: &'a str) -> Candidate<'a> {
    Candidate {
        task,
        provider: "p",
        model,
        temperature: Some(0.5),
        max_tokens: Some(2048),
    }
}

fn policy() -> Policy {
    policy_of(vec!["p/*"])
}

/// With more globs than are searched as they are.
fn policy_of_many() -> Policy {
    policy_of(vec![
        "a/1", "b/*", "*c*", "*/d*e", "f", "g/h", "i*", "j", "*", "k/l",
    ])
}

fn policy_of(globs: Vec<&str>) -> Policy {
    let user = |user| UserPolicy {
        user,
        egress_mode: None,
        allow_off_mode: Some(true),
    };
    Policy::pack(Fields {
        tasks: vec![
            candidate("chat", "1"),
            candidate("a", "x"),
            candidate("chat", "2"),
        ],
        users: vec![user("z"), user("ä"), user("b")],
        allowed_models: Some(globs),
        ..Fields::new("p", "m")
    })
}

#[test]
fn candidates_of_one_task_keep_their_order_wherever_they_stood() {
    let policy = policy();
    let found: Vec<_> = policy.candidates("chat").collect();
    assert_eq!(found, [candidate("chat", "1"), candidate("chat", "2")]);
    assert_eq!(policy.candidates("a").count(), 1);
    assert_eq!(policy.candidates("b").count(), 0);
    assert_eq!(policy.candidates("").count(), 0);
}

#[test]
fn users_are_found_by_their_exact_name() {
    let policy = policy();
    for user in ["z", "ä", "b"] {
        assert_eq!(policy.user(user).map(|entry| entry.user), Some(user));
    }
    assert_eq!(policy.user("Z"), None);
}

#[test]
fn the_derived_form_is_read_back_and_any_other_form_is_not() {
    let policy = policy();
    let bytes = policy.bytes().to_vec();
    assert_eq!(Policy::from_bytes(bytes.clone()), Some(policy));
    assert_eq!(Policy::from_bytes(Vec::new()), None);
    assert_eq!(Policy::from_bytes(bytes[..bytes.len() - 1].to_vec()), None);
    assert_eq!(Policy::from_bytes([bytes.as_slice(), &[0]].concat()), None);
    let mut other = bytes;
    other[0] = FORMAT + 1;
    assert_eq!(Policy::from_bytes(other), None);
}

#[test]
fn everything_that_fields_say_is_read_back() {
    let policy = Policy::pack(Fields {
        allow_remote_egress: false,
        egress_mode: Some(EgressMode::Off),
        allow_off_mode: Some(false),
        allowed_models: Some(Vec::new()),
        tasks: vec![Candidate {
            temperature: None,
            max_tokens: None,
            ..candidate("", "")
        }],
        ..Fields::new("ä", "")
    });
    assert_eq!(
        (policy.default_provider(), policy.default_model()),
        ("ä", "")
    );
    assert!(!policy.allow_remote_egress);
    assert_eq!(policy.egress_mode, Some(EgressMode::Off));
    assert_eq!(policy.allow_off_mode, Some(false));
    assert!(!policy.allows("ä", ""), "an empty list allows nothing");
    let found: Vec<_> = policy.candidates("").collect();
    assert_eq!((found[0].temperature, found[0].max_tokens), (None, None));
    let plain = Policy::pack(Fields::new("p", "m"));
    assert!(plain.allow_remote_egress && plain.allows("x", "y"));
    assert_eq!((plain.egress_mode, plain.allow_off_mode), (None, None));
}

#[test]
fn damaged_bytes_never_panic() {
    policy_is_harmless(&policy());
    policy_is_harmless(&policy_of_many());
}

fn policy_is_harmless(policy: &Policy) {
    let bytes = policy.bytes().to_vec();
    for at in 1..bytes.len() {
        for damage in [1, 0x40, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            if let Some(policy) = Policy::from_bytes(damaged) {
                policy
                    .candidates("chat")
                    .for_each(|candidate| assert_eq!(candidate.task, "chat"));
                policy.user("b");
                policy.allows("p", "m");
                assert!(policy.default_provider().len() <= bytes.len());
            }
        }
    }
}

#[test]
fn users_who_say_nothing_are_as_if_they_were_not_there() {
    let user = |user, egress_mode, allow_off_mode| UserPolicy {
        user,
        egress_mode,
        allow_off_mode,
    };
    let policy = Policy::pack(Fields {
        users: vec![
            user("b", None, None),
            user("a", None, Some(false)),
            user("c", Some(EgressMode::Off), None),
        ],
        ..Fields::new("p", "m")
    });
    assert_eq!(policy.user("b"), None);
    assert_eq!(policy.user("a").and_then(|u| u.allow_off_mode), Some(false));
    assert!(policy.user("c").is_some());
}

#[test]
fn a_long_list_allows_what_its_globs_match_one_by_one() {
    let lists = [
        vec![
            "a/1", "b/*", "*c*", "*/d*e", "f/g", "f", "*ä*", "h/i*j*k", "**/x", "[a]/b", "aa*aa",
        ],
        vec![
            "p/a", "p/b", "p/c", "p/d", "p/e", "p/f", "p/g", "p/h", "p/i", "p/a", "p/*j",
        ],
    ];
    let ids = [
        "a",
        "1",
        "b",
        "c",
        "xcx",
        "d",
        "dxe",
        "e",
        "f",
        "g",
        "ä",
        "xäy",
        "h",
        "ijk",
        "i1j2k",
        "x",
        "[a]",
        "aa",
        "aaa",
        "aaaa",
        "p",
        "j",
        "jj",
        "",
        "/",
        "b/c",
        "*",
        "\u{1F600}",
    ];
    for globs in lists {
        assert!(globs.len() > globs::FEW);
        let policy = Policy::pack(Fields {
            allowed_models: Some(globs.clone()),
            ..Fields::new("p", "m")
        });
        for provider in ids {
            for model in ids {
                let name = format!("{provider}/{model}");
                let expected = globs.iter().any(|glob| globs::matches(glob, &name));
                assert_eq!(policy.allows(provider, model), expected, "{name} {globs:?}");
            }
        }
    }
}
