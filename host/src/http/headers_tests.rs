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
fn weak_broken_and_contradicting_conditions_are_bad_requests() {
    for values in [
        vec!["W/\"7\""],
        vec!["\"1\", W/\"7\""],
        vec!["7"],
        vec!["\"7"],
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
    assert_eq!(
        condition_of(IF_NONE_MATCH, &["\"7\""]),
        Err(StatusCode::BAD_REQUEST)
    );
    let mut both = with(IF_MATCH, &["*"]);
    both.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    assert!(condition(&both).is_err());
}

#[test]
fn a_reader_that_has_the_revision_is_recognised_also_by_a_weak_tag() {
    let known =
        |value: &str| already_known(&with(IF_NONE_MATCH, &[value]), 7).expect("well-formed");
    assert!(known("\"7\"") && known("W/\"7\"") && known("*") && known("\"1\",\"7\""));
    assert!(!known("\"8\""));
}

#[test]
fn a_demanded_revision_is_an_integer_that_json_keeps() {
    let read = |value: &str| min_revision(&with(MIN_REVISION, &[value])).map_err(|p| p.status);
    assert_eq!(read("0"), Ok(0));
    assert_eq!(read("9007199254740991"), Ok((1 << 53) - 1));
    for bad in [
        "",
        "-1",
        "+1",
        "1.0",
        "x",
        "9007199254740992",
        "99999999999999999999999",
    ] {
        assert_eq!(read(bad), Err(StatusCode::BAD_REQUEST), "{bad}");
    }
    assert!(min_revision(&with(MIN_REVISION, &["1", "2"])).is_err());
}

#[test]
fn a_reason_is_short_text() {
    let read = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(
            REASON,
            HeaderValue::from_bytes(value).expect("header bytes"),
        );
        reason(&headers).map_err(|problem| problem.status)
    };
    assert_eq!(read("früher".as_bytes()), Ok(Some("früher".to_owned())));
    assert_eq!(read(&[b'x'; 500]), Ok(Some("x".repeat(500))));
    assert_eq!(read(b""), Ok(None));
    for bad in [&[b'x'; 501][..], b"caf\xe9", b"a\tb", "a\u{85}b".as_bytes()] {
        assert_eq!(read(bad), Err(StatusCode::BAD_REQUEST), "{bad:?}");
    }
}

#[test]
fn request_ids_are_taken_if_they_are_sane() {
    let id = |value: &str| RequestId::of(&with(REQUEST_ID, &[value])).0;
    assert_eq!(id("abc-1"), "abc-1");
    let long = "x".repeat(129);
    for insane in ["", "a b", "é", &long] {
        let given = id(insane);
        let text = given.to_str().expect("ASCII");
        assert_eq!(
            uuid::Uuid::parse_str(text)
                .expect("a UUID")
                .get_version_num(),
            7
        );
    }
}

#[test]
fn json_by_any_name_is_taken_and_nothing_else() {
    let taken = |value: &str| expect_json(&with(CONTENT_TYPE, &[value])).is_ok();
    assert!(taken("application/json") && taken("Application/JSON; charset=utf-8"));
    assert!(taken("application/vnd.x+json") && expect_json(&HeaderMap::new()).is_ok());
    assert!(!taken("text/plain") && !taken("application/x-www-form-urlencoded") && !taken(""));
}
