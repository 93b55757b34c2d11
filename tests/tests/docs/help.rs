//! Every `--help` of the binary, and the variables that it names.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use ordain_tests::process::binary;

/// All help texts, each under the command that prints it, parents before children.
pub fn reference() -> String {
    let mut text = String::from("Generated from the binary by `make bless`. Do not edit.\n");
    for (command, help) in pages() {
        text += &format!("\n{}\n$ {command} --help\n\n{help}", "-".repeat(100));
    }
    text
}

/// Every environment variable that a help text names.
pub fn variables() -> BTreeSet<String> {
    let pages = pages();
    let names = pages
        .iter()
        .flat_map(|(_, help)| help.split("[env: ").skip(1));
    names
        .filter_map(|rest| rest.split(['=', ']']).next())
        .map(|name| name.trim().to_owned())
        .collect()
}

fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect(&mut Vec::new(), &mut pages);
    pages
}

fn collect(path: &mut Vec<String>, pages: &mut Vec<(String, String)>) {
    let help = help(path);
    let children = subcommands(&help);
    pages.push((
        ["ordain".to_owned()]
            .iter()
            .chain(&*path)
            .cloned()
            .collect::<Vec<_>>()
            .join(" "),
        help,
    ));
    for child in children {
        path.push(child);
        collect(path, pages);
        path.pop();
    }
}

/// The names under "Commands:", save `help`, which only repeats.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Names are indented by two; continuations of a description by more.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn help(path: &[String]) -> String {
    // The width of the page; none of the streams may be a terminal, which would decide it.
    let output = Command::new(binary())
        .args(path)
        .arg("--help")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be started");
    let text = String::from_utf8(output.stdout).expect("help is text");
    assert!(
        output.status.success(),
        "ordain {path:?} --help: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}
