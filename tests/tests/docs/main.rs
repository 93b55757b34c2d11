//! Generated documents say what the sources say. `make bless` writes them anew (it sets
//! ORDAIN_BLESS).

mod help;
mod interface;

use std::path::{Path, PathBuf};

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
