use super::*;

fn one(text: &str) -> Item {
    match parse(text, None).expect("JSON") {
        Body::One(item) => item,
        other => panic!("{other:?}"),
    }
}

fn pointers(text: &str) -> Vec<String> {
    let faults = one(text).expect_err("must have faults").faults;
    assert!(faults.iter().all(|fault| !fault.message.is_empty()));
    faults.into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn a_full_request_is_read_as_it_was_written() {
    let read = one(
        r#"{"tenant":"a/b","user":"u\u00e9","task":"chat","model":"m","temperature":0.7,
            "maxTokens":9007199254740991,"egressMode":"report-only","minRevision":1795420800123456}"#,
    )
    .expect("no faults");
    assert_eq!(read.tenant.as_str(), "a/b");
    let expected = Request {
        user: Some("ué".into()),
        task: Some("chat".into()),
        model: Some("m".into()),
        temperature: Some(0.7),
        max_tokens: Some((1 << 53) - 1),
        egress_mode: Some(EgressMode::ReportOnly),
        min_revision: 1_795_420_800_123_456,
    };
    assert_eq!(read.request, expected);
    assert_eq!(
        one(r#"{"tenant":"t"}"#).expect("no faults").request,
        Request::default()
    );
}

#[test]
fn every_fault_of_a_request_is_listed_with_its_pointer() {
    assert_eq!(
        pointers(
            r#"{"user":true,"task":3,"temperature":"hot","maxTokens":1.5,"egressMode":"OFF",
                "minRevision":9007199254740992,"we/ird~":{"a":[1]},"user":"twice"}"#
        ),
        [
            "/user",
            "/task",
            "/temperature",
            "/maxTokens",
            "/egressMode",
            "/minRevision",
            "/we~1ird~0",
            "/user",
            "/tenant"
        ]
    );
    assert_eq!(pointers(r#"{"tenant":".."}"#), ["/tenant"]);
    assert_eq!(pointers(r#"{"tenant":null}"#), ["/tenant"]);
    assert_eq!(
        pointers(r#"{"tenant":"t","minRevision":-1}"#),
        ["/minRevision"]
    );
    assert_eq!(
        pointers(r#"{"tenant":"t","temperature":1e999}"#),
        ["/temperature"]
    );
    for no_object in ["3", "null", "true", "\"x\"", "-1", "0.5"] {
        assert_eq!(pointers(no_object), [""]);
    }
}

#[test]
fn what_is_no_json_is_malformed() {
    for text in [
        "",
        "{",
        "{\"tenant\":\"t\"} x",
        "[{]",
        "NaN",
        "{\"tenant\":\"\\ud800\"}",
        "{1:2}",
    ] {
        assert!(parse(text, None).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&deep, None).is_err());
}

#[test]
fn each_item_of_a_batch_has_its_own_faults() {
    let Ok(Body::Many(items)) = parse(r#"[{"tenant":"t"},{"x":1},[],7]"#, None) else {
        panic!("a list is a batch");
    };
    assert!(items[0].is_ok());
    let pointers: Vec<Vec<&str>> = items[1..]
        .iter()
        .map(|item| {
            item.as_ref()
                .expect_err("faulty")
                .faults
                .iter()
                .map(|f| f.pointer.as_str())
                .collect()
        })
        .collect();
    assert_eq!(pointers, [vec!["/x", "/tenant"], vec![""], vec![""]]);
    assert_eq!(parse("[]", None), Ok(Body::Many(Vec::new())));
}

#[test]
fn null_is_as_if_the_field_were_not_there_save_for_a_tenant_that_must_be() {
    let nulls = r#""user":null,"task":null,"model":null,"temperature":null,"maxTokens":null,
        "egressMode":null,"minRevision":null"#;
    let read = one(&format!(r#"{{"tenant":"t",{nulls}}}"#)).expect("no faults");
    assert_eq!(read.request, Request::default());
    assert_eq!(
        pointers(&format!(r#"{{"tenant":null,{nulls}}}"#)),
        ["/tenant"]
    );
    assert_eq!(
        pointers(r#"{"tenant":"t","user":null,"user":"x"}"#),
        ["/user"]
    );
    assert_eq!(pointers(r#"{"tenant":"t","other":null}"#), ["/other"]);
    let bound = Tenant::new("acme").expect("an id");
    let Ok(Body::One(Ok(read))) = parse(&format!(r#"{{"tenant":null,{nulls}}}"#), Some(&bound))
    else {
        panic!("a tenant that is known need not be named");
    };
    assert_eq!(read.tenant, bound);
}

#[test]
fn a_request_that_cannot_be_asked_says_whom_it_names() {
    let named = |text: &str, bound: Option<&Tenant>| -> Vec<String> {
        let Ok(Body::One(Err(faulty))) = parse(text, bound) else {
            panic!("{text}");
        };
        let tenants = faulty
            .tenants
            .iter()
            .map(|tenant| tenant.as_str().to_owned());
        tenants.collect()
    };
    assert_eq!(named(r#"{"x":1,"tenant":"a","user":7}"#, None), ["a"]);
    assert_eq!(
        named(r#"{"tenant":"a","tenant":"b","tenant":".."}"#, None),
        ["b", "a"]
    );
    assert_eq!(named(r#"{"tenant":".."}"#, None), [""; 0]);
    assert_eq!(named("7", None), [""; 0]);
}

#[test]
fn faults_of_a_body_are_bounded_and_each_request_has_one_at_least() {
    let unknown: Vec<String> = (0..300).map(|n| format!("\"x{n}\":0")).collect();
    let item = format!("{{{}}}", unknown.join(","));
    let faults = one(&item).expect_err("faulty").faults;
    assert_eq!(faults.len(), 101);
    assert_eq!(
        faults[100].message,
        "has 201 more faults than are listed here"
    );
    let batch = format!("[{}]", vec![item; 500].join(","));
    let Ok(Body::Many(items)) = parse(&batch, None) else {
        panic!("a list is a batch");
    };
    let told = items.iter().map(|item| item.as_ref().expect_err("faulty"));
    let counts: Vec<usize> = told.map(|faulty| faulty.faults.len()).collect();
    assert_eq!(counts[..10], [101; 10]);
    assert_eq!(counts[10..], [2; 490]);
}

#[test]
fn a_batch_has_a_thousand_requests_at_most() {
    let batch = |count: usize| format!("[{}]", vec![r#"{"tenant":"t"}"#; count].join(","));
    let Ok(Body::Many(items)) = parse(&batch(BATCH_LIMIT), None) else {
        panic!("a thousand are allowed");
    };
    assert_eq!(items.len(), BATCH_LIMIT);
    assert_eq!(parse(&batch(1003), None), Ok(Body::TooMany(1003)));
}

#[test]
fn a_trial_keeps_the_text_of_its_record_and_its_requests_need_no_tenant() {
    let tenant = Tenant::new("acme").expect("an id");
    let text = r#"{"record":{"a":1, "a":2},"requests":[{},{"tenant":"acme"},{"tenant":"other"}]}"#;
    let trial = parse_trial(text, &tenant)
        .expect("JSON")
        .expect("no faults");
    assert_eq!(trial.record, r#"{"a":1, "a":2}"#);
    let Body::Many(items) = trial.requests else {
        panic!("a list")
    };
    assert!(items[0].is_ok() && items[1].is_ok());
    assert_eq!(
        items[2].as_ref().expect_err("another tenant").faults[0].pointer,
        "/tenant"
    );

    let faults = |text: &str| -> Vec<String> {
        let faults = parse_trial(text, &tenant)
            .expect("JSON")
            .expect_err("faults");
        faults.into_iter().map(|fault| fault.pointer).collect()
    };
    assert_eq!(faults(r#"{"x":1}"#), ["/x", "/record", "/requests"]);
    assert_eq!(faults(r#"{"record":{},"requests":{}}"#), ["/requests"]);
    assert_eq!(faults("[]"), [""]);
}
