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
fn a_reason_is_short_text_in_whichever_form_it_comes() {
    let query = |text: &str| {
        let uri = format!("/x{text}").parse().expect("a URI");
        Query::read(&uri, &["reason"]).expect("well-formed")
    };
    let read = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(
            REASON,
            HeaderValue::from_bytes(value).expect("header bytes"),
        );
        reason(&headers, &query("")).map_err(|problem| problem.status)
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(read("fr\u{fc}her".as_bytes()), some("fr\u{fc}her"));
    assert_eq!(read(b"fr%C3%BCher"), some("fr\u{fc}her"));
    assert_eq!(
        read(b"caf%c3%a9, 100% sure %25"),
        some("caf\u{e9}, 100% sure %")
    );
    assert_eq!(read(&[b'x'; 500]), some(&"x".repeat(500)));
    assert_eq!(
        read("%C3%BC".repeat(250).as_bytes()),
        some(&"\u{fc}".repeat(250))
    );
    assert_eq!(read(b""), Ok(None));
    for bad in [
        &[b'x'; 501][..],
        b"caf\xe9",
        b"caf%E9",
        b"a\tb",
        b"a%09b",
        b"a%00",
        "a\u{85}b".as_bytes(),
    ] {
        assert_eq!(read(bad), Err(StatusCode::BAD_REQUEST), "{bad:?}");
    }
    let none = HeaderMap::new();
    assert_eq!(
        reason(&none, &query("?reason=caf%C3%A9+50%25")),
        Ok(Some("caf\u{e9} 50%".to_owned()))
    );
    assert_eq!(reason(&none, &query("?reason=")), Ok(None));
    assert!(reason(&none, &query("?reason=a%0Ab")).is_err());
    let both = reason(&with(REASON, &["x"]), &query("?reason=y")).expect_err("twice");
    assert!(both.detail.contains("twice"), "{}", both.detail);
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
