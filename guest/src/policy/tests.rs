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
        allowed_models: Some(vec!["p/*"]),
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
    assert_eq!(policy.allowed_models().map(Iterator::count), Some(0));
    let found: Vec<_> = policy.candidates("").collect();
    assert_eq!((found[0].temperature, found[0].max_tokens), (None, None));
    let plain = Policy::pack(Fields::new("p", "m"));
    assert!(plain.allow_remote_egress && plain.allowed_models().is_none());
    assert_eq!((plain.egress_mode, plain.allow_off_mode), (None, None));
}

#[test]
fn damaged_bytes_never_panic() {
    let bytes = policy().bytes().to_vec();
    for at in 1..bytes.len() {
        for damage in [1, 0x40, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= damage;
            if let Some(policy) = Policy::from_bytes(damaged) {
                policy
                    .candidates("chat")
                    .for_each(|candidate| assert_eq!(candidate.task, "chat"));
                policy.user("b");
                policy.allowed_models().map(Iterator::count);
                assert!(policy.default_provider().len() <= bytes.len());
            }
        }
    }
}
