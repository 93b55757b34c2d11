use clap::CommandFactory;
use serde_json::json;

use super::records::{Policies, parse};
use super::target::{Choice, TargetArgs, tenant_path};
use super::{Cli, prepared, resolve};

fn tenants(text: &str) -> Vec<String> {
    let Policies { entries, broken } = parse(text);
    assert_eq!(broken, [], "{text}");
    entries
        .iter()
        .map(|entry| entry.tenant.as_str().to_owned())
        .collect()
}

fn faults(text: &str) -> Vec<String> {
    let broken = parse(text).broken;
    assert!(!broken.is_empty(), "{text}");
    broken.iter().map(ToString::to_string).collect()
}

#[test]
fn commands_are_well_formed_and_help_shows_no_value_of_the_environment() {
    let command = prepared(Cli::command());
    command.clone().debug_assert();
    fn check(command: &clap::Command) {
        for argument in command
            .get_arguments()
            .filter(|argument| argument.get_env().is_some())
        {
            assert!(argument.is_hide_env_values_set(), "{argument}");
        }
        command.get_subcommands().for_each(check);
    }
    check(&command);
}

#[test]
fn a_file_of_policies_has_one_of_three_forms() {
    let lines = "{\"tenant\":\"a\",\"policy\":{\"x\":1}}\n\n{\"tenant\":\"b\",\"policy\":{}}\r\n";
    assert_eq!(tenants(lines), ["a", "b"]);
    assert_eq!(tenants("{\"tenant\":\"a\",\"policy\":{}}"), ["a"]);
    assert_eq!(
        tenants("[{\"tenant\":\"a\",\"policy\":{}},\n {\"policy\":{},\"tenant\":\"b/c\"}]"),
        ["a", "b/c"]
    );
    assert_eq!(tenants("{\"a\":{},\n \"tenant\":{}}"), ["a", "tenant"]);
    assert_eq!(tenants("{\n  \"a\": {\n    \"x\": 1\n  }\n}"), ["a"]);
    assert_eq!(tenants("{\"a\":{}}"), ["a"]);
    assert_eq!(tenants("[]"), [""; 0]);
    assert_eq!(tenants("{}"), [""; 0]);
    assert_eq!(tenants(""), [""; 0]);
}

#[test]
fn the_text_of_a_record_reaches_the_guest_as_it_was_written() {
    let entries = parse("{\"tenant\":\"a\",\"policy\":{ \"x\":1.0, \"x\":2}}").entries;
    assert_eq!(entries[0].record, "{ \"x\":1.0, \"x\":2}");
    assert_eq!(entries[0].place, "line 1");
}

#[test]
fn everything_that_is_wrong_with_a_file_is_listed_with_its_place() {
    let listed = faults(
        "{\"tenant\":\"a\",\"policy\":{}}\n{\"tenant\":\"b\"}\nnonsense\n{\"tenant\":\"\",\"policy\":{}}\n{\"tenant\":\"a\",\"policy\":{}}\n{\"tenant\":\"c\",\"policy\":{},\"x\":1}",
    );
    assert_eq!(listed.len(), 5, "{listed:#?}");
    for (fault, (place, word)) in listed.iter().zip([
        ("line 2", "policy"),
        ("line 3", "tenant"),
        ("line 4", "1 to 256"),
        ("line 5", "line 1"),
        ("line 6", "`x`"),
    ]) {
        assert!(fault.starts_with(place) && fault.contains(word), "{fault}");
    }
    assert!(faults("{\"a\":{},\"a\":{}}")[0].starts_with("policy 2, tenant \"a\""));
    assert!(faults("[{\"tenant\":\"a\",\"policy\":{}},{}]")[0].starts_with("item 2"));
    assert!(faults("{\"a\":")[0].starts_with("file: "));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(crate::http::RECORD_LIMIT));
    assert!(faults(&large)[0].contains("262144"));
}

#[test]
fn the_demo_file_can_be_read() {
    let demo = include_str!("../../../../docs/demo-policies.jsonl");
    assert_eq!(tenants(demo), ["acme", "clinic", "research/eu"]);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_server_over_a_database() {
    let args = |server: Option<&str>, database: Option<&str>| TargetArgs {
        server: server.map(str::to_owned),
        database_url: database.map(Into::into),
        token: None,
    };
    let all = |name: &str| Some(format!("{name} value"));
    let only_database = |name: &str| match name {
        "DATABASE_URL" => Some("db".to_owned()),
        _ => Some(String::new()),
    };
    assert_eq!(
        args(Some("s"), Some("d")).choose(all),
        Choice::Server("s".into())
    );
    assert_eq!(
        args(None, Some("d")).choose(all),
        Choice::Database("d".into())
    );
    assert_eq!(
        args(None, None).choose(all),
        Choice::Server("ORDAIN_SERVER value".into())
    );
    assert_eq!(
        args(None, None).choose(only_database),
        Choice::Database("db".into())
    );
    assert_eq!(
        args(None, None).choose(|_| None),
        Choice::Server("http://127.0.0.1:7171".into())
    );
}

#[test]
fn odd_tenants_survive_the_way_into_a_path() {
    assert_eq!(
        tenant_path("a/b %:ü~.", "/policy").ok().as_deref(),
        Some("/v1/tenants/a%2Fb%20%25%3A%C3%BC~./policy")
    );
    assert!(tenant_path("..", "/policy").is_err());
}

#[test]
fn a_decision_is_shown_with_what_decided_it_and_a_refusal_with_why() {
    let shown = |answer: serde_json::Value| {
        resolve::details(&answer)
            .into_iter()
            .map(|row| row.join("|"))
            .collect::<Vec<_>>()
    };
    let provenance = json!({"revision": 7, "tier": "near", "stale": false, "ageMs": 3});
    let rows = shown(
        json!({"allow": true, "provider": "p", "model": "m", "maxTokens": 5,
        "egress": {"requested": "off", "effective": "enforce"},
        "rules": {"provider": "task", "model": "caller", "maxTokens": "caller", "egress": "base"},
        "provenance": provenance}),
    );
    assert_eq!(
        rows,
        [
            "allowed||",
            "provider|p|by task",
            "model|m|by caller",
            "max tokens|5|by caller",
            "egress|enforce|by base",
            "requested|off|",
            "source|near, 3 ms old|",
            "revision|7|"
        ]
    );
    let rows = shown(
        json!({"allow": false, "refusal": {"code": "no-policy", "message": "none"},
        "egress": {"requested": "enforce", "effective": "enforce"},
        "provenance": {"revision": null, "tier": "origin", "stale": false, "ageMs": 0}}),
    );
    assert_eq!(rows[..2], ["refused|no-policy|", "because|none|"]);
    assert!(rows[4].contains("no policy"), "{rows:?}");
}
