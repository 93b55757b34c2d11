//! Generated documents say what the sources say. `make bless` writes them anew (it sets
//! ORDAIN_BLESS).

mod help;
mod interface;

use std::path::{Path, PathBuf};

use ordain_tests::openapi::Document;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}; run: make bless"))
}

/// Compares a document with what it should be, or writes it.
fn check(path: &str, expected: &str) {
    if std::env::var_os("ORDAIN_BLESS").is_some() {
        std::fs::write(repository().join(path), expected)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let found = read(path);
    let differs = found
        .lines()
        .zip(expected.lines())
        .position(|(a, b)| a != b);
    let line = differs.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "{path} is out of date from line {}: run `make bless` and commit the result\n  has: {}\n  new: {}",
        line + 1,
        found.lines().nth(line).unwrap_or("(end)"),
        expected.lines().nth(line).unwrap_or("(end)"),
    );
}

#[test]
fn the_interface_reference_matches_the_wit() {
    check(
        "docs/interface.md",
        &interface::reference(&repository().join("wit")),
    );
}

#[test]
fn the_command_line_reference_matches_the_help() {
    check("docs/cli.txt", &help::reference());
}

#[test]
fn the_description_of_all_calls_matches_the_routes() {
    check("docs/openapi.json", &ordain_server::http::DOCUMENT);
}

#[test]
fn every_schema_has_an_example_that_fits_it() {
    let document = serde_json::from_str(&ordain_server::http::DOCUMENT).expect("JSON");
    let faults = Document(document).faults_of_examples();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn an_example_that_does_not_fit_and_one_that_is_missing_are_found() {
    let mut document = serde_json::from_str::<Value>(&ordain_server::http::DOCUMENT).expect("JSON");
    let parts = &mut document["components"];
    parts["schemas"]["Purge"]["examples"][0]["tenant"] = Value::from(5);
    parts["schemas"]["Health"]["examples"] = Value::Array(Vec::new());
    parts["parameters"]["limit"]["example"] = Value::from(501);
    let faults = Document(document).faults_of_examples();
    for name in ["schemas/Purge", "schemas/Health", "parameters/limit"] {
        let found = faults.iter().filter(|fault| fault.starts_with(name));
        assert_eq!(found.count(), 1, "{name}: {faults:#?}");
    }
    assert_eq!(faults.len(), 3, "{faults:#?}");
}

#[test]
fn the_reference_of_options_matches_their_definitions() {
    check("docs/configuration.md", &ordain_server::config::reference());
}

#[test]
fn the_reference_of_options_names_every_variable_of_the_help() {
    let reference = read("docs/configuration.md");
    let variables = help::variables();
    assert!(
        variables.contains("DATABASE_URL"),
        "the help names its variables: {variables:?}"
    );
    let missing: Vec<_> = variables
        .iter()
        .filter(|name| !reference.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/configuration.md says nothing of {missing:?}"
    );
}
