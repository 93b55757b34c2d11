use super::*;
use crate::ports::fake::{Call, Fake};

const TEXT: &str = r#"{"defaultModel":"m","defaultProvider":"p"}"#;

fn ports(text: &str) -> Fake {
    Fake {
        text: text.into(),
        ..Fake::default()
    }
}

fn model(decoded: &mut Decoded, ports: &mut Fake, fill: u64) -> String {
    let present = Present { fill, revision: 1 };
    decoded
        .policy(ports, present)
        .expect("a valid record")
        .default_model()
        .to_owned()
}

fn with_model(name: &str) -> String {
    TEXT.replace("\"m\"", &format!("\"{name}\""))
}

#[test]
fn a_copy_is_used_under_its_own_fill_number_only() {
    let mut decoded = Decoded::default();
    let mut ports = ports(TEXT);
    assert_eq!(model(&mut decoded, &mut ports, 7), "m");
    assert_eq!(
        ports.take_calls(),
        [Call::Derived, Call::Text, Call::Attach]
    );
    ports.text = with_model("new");
    ports.derived.clear();
    assert_eq!(model(&mut decoded, &mut ports, 7), "m");
    assert_eq!(ports.take_calls(), []);
    // The same set, another value.
    let next = 7 + SETS as u64;
    assert_eq!(model(&mut decoded, &mut ports, next), "new");
    assert_eq!(
        ports.take_calls(),
        [Call::Derived, Call::Text, Call::Attach]
    );
}

#[test]
fn a_value_that_is_in_no_cache_is_decoded_every_time() {
    let mut decoded = Decoded::default();
    let mut ports = ports(TEXT);
    for name in ["a", "b"] {
        ports.text = with_model(name);
        assert_eq!(model(&mut decoded, &mut ports, 0), name);
        assert_eq!(ports.take_calls(), [Call::Text]);
    }
    assert_eq!(decoded.bytes, 0);
}

#[test]
fn derived_bytes_spare_the_text_and_damaged_ones_are_ignored() {
    let mut ports = ports(TEXT);
    assert_eq!(model(&mut Decoded::default(), &mut ports, 1), "m");
    ports.take_calls();
    // What was attached is what a second instance finds.
    assert_eq!(model(&mut Decoded::default(), &mut ports, 1), "m");
    assert_eq!(ports.take_calls(), [Call::Derived]);
    ports.derived.truncate(4);
    assert_eq!(model(&mut Decoded::default(), &mut ports, 1), "m");
    assert_eq!(
        ports.take_calls(),
        [Call::Derived, Call::Log, Call::Text, Call::Attach]
    );
}

#[test]
fn a_broken_record_is_reported_without_its_contents() {
    let mut ports = ports(r#"{"defaultModel":"secret-model","secretField":1}"#);
    let present = Present {
        fill: 3,
        revision: 99,
    };
    let failure = Decoded::default()
        .policy(&mut ports, present)
        .map(|_| ())
        .expect_err("broken");
    let Failure::RecordInvalid(faults) = failure else {
        panic!("{failure:?}");
    };
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/secretField", "/defaultProvider"]);
    let [(Severity::Error, message)] = ports.messages.as_slice() else {
        panic!("{:?}", ports.messages);
    };
    assert!(
        message.contains("99") && !message.contains("secret"),
        "{message}"
    );
    assert_eq!(ports.take_calls(), [Call::Derived, Call::Text, Call::Log]);
}

#[test]
fn the_number_of_copies_is_bounded_and_what_is_used_stays() {
    let mut decoded = Decoded::default();
    let mut ports = ports(TEXT);
    for fill in 1..10_000 {
        ports.derived.clear();
        model(&mut decoded, &mut ports, fill);
        model(&mut decoded, &mut ports, 1);
    }
    let kept = decoded.fills.iter().filter(|fill| **fill != 0).count();
    assert_eq!(kept, SETS * WAYS);
    assert_eq!(decoded.copies.iter().flatten().count(), kept);
    ports.take_calls();
    model(&mut decoded, &mut ports, 1);
    assert_eq!(ports.take_calls(), [], "the busy copy was never evicted");
}

#[test]
fn the_bytes_of_copies_are_bounded_and_counted_exactly() {
    let tasks: Vec<String> = (0..1000)
        .map(|n| format!(r#"{{"model":"m","provider":"p","task":"{n}"}}"#))
        .collect();
    let text = TEXT.replace("}", &format!(r#","tasks":[{}]}}"#, tasks.join(",")));
    let mut decoded = Decoded::default();
    let mut ports = ports(&text);
    for fill in 1..200 {
        model(&mut decoded, &mut ports, fill);
        assert!(decoded.bytes <= MOST_BYTES);
    }
    let weights: usize = decoded
        .copies
        .iter()
        .flatten()
        .map(|copy| copy.weight)
        .sum();
    assert_eq!(decoded.bytes, weights);
    assert!(weights > MOST_BYTES / 2, "the space is used: {weights}");
}
