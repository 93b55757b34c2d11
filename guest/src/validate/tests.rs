use super::*;

const FULL: &str = r#"{
    "defaultProvider": "openai", "defaultModel": "gpt-4o", "allowRemoteEgress": false,
    "egressMode": "report-only", "allowOffMode": true,
    "tasks": [
        {"task": "chat", "provider": "local", "model": "llama", "temperature": 0.7, "maxTokens": 2048.0},
        {"task": "a/b", "provider": "openai", "model": "gpt"}
    ],
    "userPolicies": {"u/1": {"egressMode": "off", "allowOffMode": false}, "default": {}},
    "allowedModels": ["openai/*", "local/llama"]
}"#;

/// The full record with one piece of its text replaced.
fn broken(piece: &str, by: &str) -> String {
    assert_eq!(FULL.matches(piece).count(), 1, "{piece}");
    FULL.replace(piece, by)
}

fn pointers(text: &str) -> Vec<String> {
    match validate(text) {
        Err(Invalid::Faults(faults)) => {
            assert_eq!(
                decode(text),
                Err(faults.clone()),
                "reading agrees with storing"
            );
            assert!(faults.iter().all(|fault| !fault.message.is_empty()));
            faults.into_iter().map(|fault| fault.pointer).collect()
        }
        other => panic!("{other:?} of {text}"),
    }
}

#[test]
fn a_full_record_is_canonical_once_and_for_all() {
    let canonical = validate(FULL).expect("valid");
    let expected = r#"{"allowOffMode":true,"allowRemoteEgress":false,"allowedModels":["openai/*","local/llama"],"defaultModel":"gpt-4o","defaultProvider":"openai","egressMode":"report-only","tasks":[{"maxTokens":2048,"model":"llama","provider":"local","task":"chat","temperature":0.7},{"model":"gpt","provider":"openai","task":"a/b"}],"userPolicies":{"default":{},"u/1":{"allowOffMode":false,"egressMode":"off"}}}"#;
    assert_eq!(canonical, expected);
    assert_eq!(validate(&canonical), Ok(canonical.clone()));
    let decoded = decode(FULL).expect("valid");
    assert_eq!(decode(&canonical), Ok(decoded.clone()));
    assert_eq!(
        decoded.candidates("chat").next().and_then(|c| c.max_tokens),
        Some(2048)
    );
    assert_eq!(
        decoded.user("u/1").and_then(|u| u.egress_mode),
        Some(EgressMode::Off)
    );
}

#[test]
fn absent_and_empty_survive_as_they_were_given() {
    let absent = r#"{"defaultModel":"m","defaultProvider":"p"}"#;
    assert_eq!(validate(absent), Ok(absent.to_owned()));
    let empty = r#"{"allowedModels":[],"defaultModel":"m","defaultProvider":"p","tasks":[],"userPolicies":{}}"#;
    assert_eq!(validate(empty), Ok(empty.to_owned()));
    assert_eq!(decode(absent).map(|p| p.allows("p", "m")), Ok(true));
    assert_eq!(decode(empty).map(|p| p.allows("p", "m")), Ok(false));
}

#[test]
fn each_broken_field_is_reported_at_its_pointer() {
    let long = format!(r#""{}""#, "ä".repeat(257));
    let long_glob = format!(r#""{}""#, "ä".repeat(514));
    let cases = [
        (r#""defaultProvider": "openai", "#, "", "/defaultProvider"),
        (r#""defaultModel": "gpt-4o", "#, "", "/defaultModel"),
        (
            r#""defaultProvider": "openai""#,
            r#""defaultProvider": null"#,
            "/defaultProvider",
        ),
        (r#""gpt-4o""#, "4", "/defaultModel"),
        (r#""gpt-4o""#, r#""""#, "/defaultModel"),
        (r#""gpt-4o""#, r#""a\u0000""#, "/defaultModel"),
        (r#""gpt-4o""#, r#""a\u007f""#, "/defaultModel"),
        (r#""gpt-4o""#, r#""a\u0085""#, "/defaultModel"),
        (r#""gpt-4o""#, &long, "/defaultModel"),
        (
            r#""allowRemoteEgress": false"#,
            r#""allowRemoteEgress": "false""#,
            "/allowRemoteEgress",
        ),
        (
            r#""allowRemoteEgress": false"#,
            r#""allowRemoteEgress": null"#,
            "/allowRemoteEgress",
        ),
        (r#""report-only""#, r#""Report-Only""#, "/egressMode"),
        (r#""report-only""#, "1", "/egressMode"),
        (
            r#""allowOffMode": true"#,
            r#""allowOffMode": 1"#,
            "/allowOffMode",
        ),
        (
            r#""allowOffMode": true"#,
            r#""allow_off_mode": true"#,
            "/allow_off_mode",
        ),
        (r#""allowOffMode": true"#, r#""a/b~c": true"#, "/a~1b~0c"),
        (r#""allowOffMode": true"#, r#""": true"#, "/"),
        (r#""task": "chat", "#, "", "/tasks/0/task"),
        (r#""provider": "local", "#, "", "/tasks/0/provider"),
        (r#""model": "llama", "#, "", "/tasks/0/model"),
        ("0.7", "2.0000001", "/tasks/0/temperature"),
        ("0.7", "-0.1", "/tasks/0/temperature"),
        ("0.7", r#""0.7""#, "/tasks/0/temperature"),
        ("0.7", "null", "/tasks/0/temperature"),
        ("2048.0", "0", "/tasks/0/maxTokens"),
        ("2048.0", "1.5", "/tasks/0/maxTokens"),
        ("2048.0", "-1", "/tasks/0/maxTokens"),
        ("2048.0", "9007199254740992", "/tasks/0/maxTokens"),
        ("2048.0", "1e300", "/tasks/0/maxTokens"),
        ("2048.0", "true", "/tasks/0/maxTokens"),
        (
            r#""model": "gpt"}"#,
            r#""model": "gpt", "x": 1}"#,
            "/tasks/1/x",
        ),
        (
            r#"{"task": "a/b", "provider": "openai", "model": "gpt"}"#,
            "null",
            "/tasks/1",
        ),
        (
            r#"{"task": "a/b", "provider": "openai", "model": "gpt"}"#,
            "[]",
            "/tasks/1",
        ),
        (r#""u/1""#, r#""..""#, "/userPolicies/.."),
        (r#""u/1""#, r#"".""#, "/userPolicies/."),
        (r#""u/1""#, r#""""#, "/userPolicies/"),
        (r#""u/1""#, r#""\n""#, "/userPolicies/\n"),
        (r#""off""#, r#""on""#, "/userPolicies/u~11/egressMode"),
        (
            r#""allowOffMode": false"#,
            r#""allowOffMode": []"#,
            "/userPolicies/u~11/allowOffMode",
        ),
        (
            r#""default": {}"#,
            r#""default": null"#,
            "/userPolicies/default",
        ),
        (
            r#""default": {}"#,
            r#""default": {"tasks": 1}"#,
            "/userPolicies/default/tasks",
        ),
        (r#""default": {}"#, r#""u/1": {}"#, "/userPolicies/u~11"),
        (r#""local/llama""#, "null", "/allowedModels/1"),
        (r#""local/llama""#, r#""""#, "/allowedModels/1"),
        (r#""local/llama""#, &long_glob, "/allowedModels/1"),
        (r#"["openai/*", "local/llama"]"#, r#""*""#, "/allowedModels"),
        (r#"["openai/*", "local/llama"]"#, "null", "/allowedModels"),
        (
            r#""allowOffMode": true"#,
            r#""egressMode": "off""#,
            "/egressMode",
        ),
    ];
    for (piece, by, pointer) in cases {
        assert_eq!(pointers(&broken(piece, by)), [pointer], "{piece} -> {by}");
    }
}

#[test]
fn containers_of_the_wrong_kind_are_faults() {
    for json in ["1", "null", "[]", "\"x\"", "true"] {
        assert_eq!(pointers(json), [""], "{json}");
    }
    let with = |member: &str| format!(r#"{{"defaultProvider":"p","defaultModel":"m",{member}}}"#);
    for kind in ["1", "null", "\"x\"", "true", "{}"] {
        assert_eq!(
            pointers(&with(&format!(r#""tasks":{kind}"#))),
            ["/tasks"],
            "{kind}"
        );
    }
    for kind in ["1", "null", "\"x\"", "true", "[]"] {
        assert_eq!(
            pointers(&with(&format!(r#""userPolicies":{kind}"#))),
            ["/userPolicies"],
            "{kind}"
        );
    }
}

#[test]
fn all_of_several_faults_are_listed() {
    let text = r#"{"defaultModel": 1, "zzz": {"a": 1, "a": 2}, "egressMode": "no",
        "tasks": [{"task": "", "maxTokens": 0}, 7, {"task": "t", "provider": "p", "model": null}],
        "userPolicies": {"..": {"x": 1}}, "allowedModels": [1, "*", ""], "egressMode": 3}"#;
    let mut found = pointers(text);
    found.sort();
    let mut expected = vec![
        "/egressMode",
        "/zzz/a",
        "/zzz",
        "/defaultProvider",
        "/defaultModel",
        "/egressMode",
        "/egressMode",
        "/tasks/0/task",
        "/tasks/0/provider",
        "/tasks/0/model",
        "/tasks/0/maxTokens",
        "/tasks/1",
        "/tasks/2/model",
        "/userPolicies/..",
        "/userPolicies/../x",
        "/allowedModels/0",
        "/allowedModels/2",
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_json_is_malformed_and_says_where() {
    for text in [
        "",
        "{",
        "{} {}",
        r#"{"defaultModel": "\ud800"}"#,
        &"[".repeat(1000),
    ] {
        let Err(Invalid::Malformed(message)) = validate(text) else {
            panic!("{text} is not JSON");
        };
        assert!(message.contains("line 1 column"), "{message}");
        let faults = decode(text).expect_err("not JSON");
        assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, ""));
    }
}

#[test]
fn the_size_limit_counts_canonical_bytes() {
    let head = r#"{"allowedModels":["#;
    let tail = r#""x"],"defaultModel":"m","defaultProvider":"p"}"#;
    // Bytes are counted, not characters: of these there need not be a thousand.
    let item = format!("\"{}{}\",", "ä".repeat(135), "a".repeat(40));
    let mut text = head.to_owned();
    while text.len() + item.len() + tail.len() <= limits::RECORD {
        text.push_str(&item);
    }
    let space = limits::RECORD - text.len() - tail.len();
    let exact = format!("{text}{}", tail.replace('x', &"x".repeat(space + 1)));
    assert_eq!(exact.len(), limits::RECORD);
    assert!(validate(&exact).is_ok() && decode(&exact).is_ok());
    let spaced = exact.replace(',', ", ");
    assert_eq!(
        validate(&spaced),
        Ok(exact.clone()),
        "white space does not count"
    );
    let longer = exact.replace("\"defaultModel\":\"m\"", "\"defaultModel\":\"mm\"");
    assert_eq!(pointers(&longer), [""]);
    assert_eq!(
        pointers(&" ".repeat(5 * limits::RECORD)),
        [""],
        "too long to be parsed"
    );
}

/// A record with so many tasks, users and globs.
fn of_counts(tasks: usize, users: usize, globs: usize) -> String {
    let listed = |count: usize, one: &dyn Fn(usize) -> String| {
        (0..count).map(one).collect::<Vec<_>>().join(",")
    };
    let tasks = listed(tasks, &|n| {
        format!(r#"{{"model":"m","provider":"p","task":"{n}"}}"#)
    });
    let users = listed(users, &|n| format!(r#""{n}":{{}}"#));
    let globs = listed(globs, &|n| format!(r#""p/{n}*""#));
    format!(
        r#"{{"allowedModels":[{globs}],"defaultModel":"m","defaultProvider":"p","tasks":[{tasks}],"userPolicies":{{{users}}}}}"#
    )
}

#[test]
fn so_many_entries_and_no_more_can_be_stored_and_are_told_at_their_list() {
    assert!(validate(&of_counts(1000, 10_000, 1000)).is_ok());
    for (counts, pointer, message) in [
        (
            (1001, 0, 0),
            "/tasks",
            "must have at most 1000 entries, has 1001",
        ),
        (
            (0, 12_345, 0),
            "/userPolicies",
            "must have at most 10000 entries, has 12345",
        ),
        (
            (0, 0, 5000),
            "/allowedModels",
            "must have at most 1000 entries, has 5000",
        ),
    ] {
        let text = of_counts(counts.0, counts.1, counts.2);
        let fault = Fault {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        assert_eq!(validate(&text), Err(Invalid::Faults(vec![fault])));
        assert!(decode(&text).is_ok(), "what is stored already is answered");
    }
    // Told also where entries have so many faults that not all of them are listed.
    let broken = of_counts(2000, 0, 0).replace(r#""p","#, "1,");
    let faults = match validate(&broken) {
        Err(Invalid::Faults(faults)) => faults,
        other => panic!("{other:?}"),
    };
    assert_eq!(faults[0].pointer, "/tasks");
}

#[test]
fn derived_bytes_are_at_most_twice_the_text_of_whatever_record() {
    let globs = |globs: &[String]| {
        let globs = globs.join(r#"",""#);
        format!(r#"{{"allowedModels":["{globs}"],"defaultModel":"m","defaultProvider":"p"}}"#)
    };
    let short = (b'a'..=b'z').flat_map(|a| (b'a'..=b'z').map(move |b| [a, b]));
    let short: Vec<String> = short
        .map(|ab| String::from_utf8_lossy(&ab).into())
        .collect();
    let single: Vec<String> = ('!'..'~')
        .filter(|c| !"\"\\".contains(*c))
        .map(String::from)
        .collect();
    let repeated = vec!["x".to_owned(); 1000];
    let longest: Vec<String> = (0..1000)
        .map(|n| format!("{n}{}", "x".repeat(200)))
        .collect();
    let users = |user: &str| {
        let users: Vec<String> = (0..8_000).map(|n| format!(r#""{n}":{user}"#)).collect();
        let users = users.join(",");
        format!(r#"{{"defaultModel":"m","defaultProvider":"p","userPolicies":{{{users}}}}}"#)
    };
    for text in [
        of_counts(1000, 10_000, 1000),
        of_counts(1000, 0, 0),
        globs(&short),
        globs(&single),
        globs(&repeated),
        globs(&longest),
        users("{}"),
        users(r#"{"egressMode":"off"}"#),
    ] {
        let policy = decode(&text).expect("sound");
        let (derived, text) = (policy.bytes().len(), text.len());
        assert!(derived <= 2 * text + 1024, "{derived} of {text}");
    }
}
