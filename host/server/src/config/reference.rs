//! `docs/configuration.md`: every option, out of the definitions that parse them. Not for the help
//! of commands (`cli`).

use std::fmt::Write as _;

use clap::{Arg, Args, Command};

use super::Config;
use super::file::CONFIG_FILE;
use super::secrets::{LISTS, is_secret};

/// Headings, each with the first option under it.
const HEADINGS: [(&str, &str); 9] = [
    ("config_file", "Service"),
    ("component", "Component"),
    ("database_url", "Postgres and Redis"),
    ("egress_mode", "Rules"),
    ("bound", "Freshness"),
    ("near_bytes", "Caches"),
    ("origin_deadline", "Deadlines and background work"),
    ("cache", "Switches"),
    ("jwt_hs256_secret", "Access"),
];

const INTRODUCTION: &str = "\
# Configuration

Generated from the program by `make bless`. Do not edit.

Every option can be set in three places. A **flag** (`--bound 2s`) wins over a **variable** (`ORDAIN_BOUND=2s`), that over
a line of the **file** (`bound = \"2s\"`), and that over the default. An empty variable, and an empty string in the file, count as unset.

The file is the one that `--config` or `ORDAIN_CONFIG` names, else `ordain.toml` in the working directory. Its keys are the flags without
`--`; strings, integers, booleans and, where a list is taken, lists of strings. There are no sections. A key that is not known, and a value that its
option does not take, stop the start; all of them are listed, each with its line. [ordain.toml](ordain.toml) is an example. The file is read by `ordain serve`, and by
commands that work on a database without a server. From a file that nobody named `component-cache` is not taken, and commands take neither `component`,
`component-*`, `redis-*` nor `far-key` from it: it may be a stranger's.

A variable that begins with `ORDAIN_` and that nothing reads stops `ordain serve`, too (save those that Kubernetes
makes of services whose names begin with `ordain`: `ORDAIN_X_SERVICE_HOST=10.0.0.7`, `ORDAIN_X_PORT=tcp://10.0.0.7:80` and the like).

Durations are whole milliseconds, at most 49 days: `250ms`, `1s`, `15m`. Sizes: `268435456`, `256MiB`, `1GiB`. Switches: `on`,
`off`, `true`, `false`, `yes`, `no`, `1`, `0`, in any case. Options marked *secret* are never shown: not by `--print-config`, not in a log, not in an error. A file that
holds one is refused while everybody on the machine can read it.

`ordain serve --print-config` shows what is in force and where each value comes from, and ends; what is missing or wrong is told after it, with exit code 2.
";

const ELSEWHERE: &str = "
## Read elsewhere

| variable | |
|---|---|
| `ORDAIN_LOG` | what is logged, to standard error: error, warn, info, debug, or per module (`--log`); text on a terminal, JSON otherwise |
| `ORDAIN_SERVER` | the server that commands talk to (`--server`); also `unix:/path/of/a.sock` |
| `ORDAIN_TOKEN` | the token that commands send (`--token`) |

## What is refused at the start

Each with a message that says what to do: policies in memory in production (no `DATABASE_URL`), `--dev` in production or on an address that others can reach, no
key to check tokens by without `--dev`, an unknown `ORDAIN_ENV`, a default provider without a default model or the other way round, a deadline of zero, a
bound that the feed cannot keep, a URL of another kind of database or cache, a key that could be guessed, a name of a provider that is none, a file of keys that others
can read, a component that is none, more connections than the limit on open files leaves room for, an address that is taken, a database that cannot be reached or lacks the schema.

What is wrong with the configuration itself ends the program with exit code 2, as wrong usage does, and is told in one go: all values of variables that
cannot be read, else all lines of the file, else all guards. What is wrong elsewhere (an address that is taken, a server that is not there) ends
it with 1.
";

/// The whole document.
pub fn reference() -> String {
    let command = Config::augment_args(Command::new("ordain"));
    let mut text = INTRODUCTION.to_owned();
    for option in command.get_arguments() {
        let id = option.get_id().as_str();
        if let Some((_, heading)) = HEADINGS.iter().find(|(first, _)| *first == id) {
            text += &format!(
                "\n## {heading}\n\n| key, flag | variable | default | |\n|---|---|---|---|\n"
            );
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", row(option));
    }
    text + ELSEWHERE
}

fn row(option: &Arg) -> String {
    let id = option.get_id().as_str();
    let long = option.get_long().unwrap_or_default();
    let key = match id {
        CONFIG_FILE => format!("`--{long}` only"),
        _ => format!("`{long}`"),
    };
    let variable = option.get_env().and_then(|name| name.to_str());
    let variable = variable.unwrap_or_default();
    let default: Vec<_> = option
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let takes = option
        .get_value_names()
        .and_then(|names| names.first())
        .map_or(String::new(), |name| format!("*{name}.* "));
    let help = option.get_long_help().or(option.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let marks = [
        (is_secret(id), " *Secret.*"),
        (LISTS.contains(&id), " *List.*"),
    ];
    let marks: String = marks
        .iter()
        .filter_map(|(is, mark)| is.then_some(*mark))
        .collect();
    let cell = format!("{takes}{}.{marks}", help.trim_end_matches('.')).replace('|', "\\|");
    let cell = cell.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("| {key} | `{variable}` | {} | {cell} |", default.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_heading_stands_above_an_option_and_the_first_one_above_all() {
        let command = Config::augment_args(Command::new("ordain"));
        let ids: Vec<&str> = command
            .get_arguments()
            .map(|option| option.get_id().as_str())
            .collect();
        let places: Vec<_> = HEADINGS
            .iter()
            .map(|(first, _)| ids.iter().position(|id| id == first))
            .collect();
        assert!(places.iter().all(Option::is_some), "{places:?}");
        assert!(places.is_sorted() && places[0] == Some(0), "{places:?}");
    }
}
