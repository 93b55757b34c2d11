use axum::http::{HeaderValue, StatusCode};

use super::*;

fn with(name: HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(
            &name,
            HeaderValue::from_bytes(value.as_bytes()).expect("header text"),
        );
    }
    headers
}

fn condition_of(name: HeaderName, values: &[&str]) -> Result<Condition, StatusCode> {
    condition(&with(name, values)).map_err(|problem| problem.status)
}

#[test]
fn conditions_are_read_as_rfc_9110_writes_them() {
    use Condition::{AnyOf, Plain};
    assert_eq!(condition_of(IF_MATCH, &[]), Ok(Plain(Precondition::None)));
    assert_eq!(
        condition_of(IF_MATCH, &["*"]),
        Ok(Plain(Precondition::Present))
    );
    assert_eq!(
        condition_of(IF_MATCH, &["\"7\""]),
        Ok(Plain(Precondition::Revision(7)))
    );
    assert_eq!(
        condition_of(IF_MATCH, &["\"7\", \"8\""]),
        Ok(AnyOf(vec![7, 8]))
    );
    assert_eq!(
        condition_of(IF_MATCH, &["\"7\"", "\"8\""]),
        Ok(AnyOf(vec![7, 8]))
    );
    assert_eq!(
        condition_of(IF_MATCH, &["\"x,y\""]),
        Ok(Plain(Precondition::Revision(0)))
    );
    assert_eq!(
        condition_of(IF_MATCH, &["\"07\""]),
        Ok(Plain(Precondition::Revision(0)))
    );
    assert_eq!(
        condition_of(IF_NONE_MATCH, &["*"]),
        Ok(Plain(Precondition::Absent))
    );
}

#[test]
fn a_tag_that_a_proxy_has_marked_names_the_same_revision() {
    use Condition::{AnyOf, Plain};
    let marked = [
        "W/\"7\"",
        "\"7-gzip\"",
        "\"7-br\"",
        "\"7-zstd\"",
        "\"7;gzip\"",
        "\"7--gzip\"",
        "\"7-deflate\"",
        "\"7:gzip\"",
        "\"7+gzip\"",
        "\"7-x-gzip\"",
        "\"7-GZIP\"",
        "\"7-brotli\"",
        "W/\"7-gzip\"",
        "\"7-br-gzip\"",
    ];
    for tag in marked {
        let plain = Plain(Precondition::Revision(7));
        assert_eq!(condition_of(IF_MATCH, &[tag]), Ok(plain), "{tag}");
        let list = format!("\"5\", {tag} ,W/\"9;br\"");
        let any = AnyOf(vec![5, 7, 9]);
        assert_eq!(condition_of(IF_MATCH, &[&list]), Ok(any), "{list}");
        let known = |value: &str| already_known(&with(IF_NONE_MATCH, &[value]), 7);
        assert_eq!(known(tag), Ok(true), "{tag}");
        assert_eq!(known(&list), Ok(true), "{list}");
    }
    for other in [
        "\"7gzip\"",
        "\"7-\"",
        "\"7-x\"",
        "\"-gzip\"",
        "\"07-gzip\"",
        "\"7-gzip-\"",
        "\"7-gzipx\"",
    ] {
        let none = Plain(Precondition::Revision(0));
        assert_eq!(condition_of(IF_MATCH, &[other]), Ok(none), "{other}");
    }
}

#[test]
fn broken_and_contradicting_conditions_are_bad_requests() {
    for values in [
        vec!["7"],
        vec!["\"7"],
        vec!["W/7"],
        vec!["W/*"],
        vec!["\"7\"-gzip"],
        vec![""],
        vec!["*", "\"7\""],
        vec!["\"7\" \"8\""],
    ] {
        assert_eq!(
            condition_of(IF_MATCH, &values),
            Err(StatusCode::BAD_REQUEST),
            "{values:?}"
        );
    }
    for tag in ["\"7\"", "W/\"7\""] {
        assert_eq!(
            condition_of(IF_NONE_MATCH, &[tag]),
            Err(StatusCode::BAD_REQUEST)
        );
    }
    let mut both = with(IF_MATCH, &["*"]);
    both.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    assert!(condition(&both).is_err());
}

#[test]
fn a_reader_that_has_the_revision_is_recognised() {
    let known =
        |value: &str| already_known(&with(IF_NONE_MATCH, &[value]), 7).expect("well-formed");
    assert!(known("\"7\"") && known("*") && known("\"1\",\"7\""));
    assert!(!known("\"8\"") && !known("\"77\"") && !known("W/\"8-gzip\""));
}
