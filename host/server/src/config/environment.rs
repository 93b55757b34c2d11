//! How the environment reaches the flags: empty variables count as unset, line ends at the end of
//! values are none of theirs, values are never shown in help, and variables that nobody reads are
//! named with the one that was probably meant.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use clap::Command;

use super::file::fault;
use super::meant::{kebab, meant};
use super::secrets::is_secret;
use super::service_links::is_service_link;

/// Variables that are read outside of [`Config`](super::Config).
const OTHERS: [&str; 3] = ["ORDAIN_SERVER", "ORDAIN_LOG", "ORDAIN_TOKEN"];

/// The command with its variables made safe, its subcommands too. What a file gives as defaults
/// must be in it already: variables win over it.
pub fn prepared(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let raw = argument.get_env().and_then(std::env::var_os);
            let value = raw.clone().map(without_line_ends);
            // Values may hold passwords, and help is pasted into tickets.
            let argument = argument.hide_env_values(true);
            match value {
                Some(value) if value.is_empty() => argument.env(None::<&'static str>),
                // The parser reads the variable itself, as it is.
                Some(value) if raw.as_ref() != Some(&value) => {
                    let argument = argument.env(None::<&'static str>);
                    argument.default_value(value).hide_default_value(true)
                }
                _ => argument,
            }
        })
        .mut_subcommands(prepared)
}

/// The value of a variable; `None`: it is not set, or empty.
pub fn variable(name: impl AsRef<OsStr>) -> Option<OsString> {
    let value = without_line_ends(std::env::var_os(name)?);
    (!value.is_empty()).then_some(value)
}

/// A secret that was stored with the line end of the file that it came in is the secret without it.
pub fn without_line_ends(value: OsString) -> OsString {
    let mut bytes = value.into_vec();
    let ends = bytes.iter().rev();
    let ends = ends
        .take_while(|byte| matches!(byte, b'\n' | b'\r'))
        .count();
    bytes.truncate(bytes.len() - ends);
    OsString::from_vec(bytes)
}

/// Every `ORDAIN_` variable that nothing reads, in words, with the one that was probably meant.
pub fn strangers(
    options: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let known: Vec<&str> = options
        .get_arguments()
        .filter_map(|option| option.get_env().and_then(|name| name.to_str()))
        .chain(OTHERS)
        .collect();
    let plain: Vec<String> = known.iter().map(|name| kebab(name)).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let mut strangers: Vec<String> = variables
        .map(|(name, value)| (name, without_line_ends(value)))
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("ORDAIN_") && !known.contains(&name.as_str()))
        .filter(|(name, value)| !is_service_link(name, &value.to_string_lossy()))
        .map(|(name, _)| {
            let meant = meant(&kebab(&name), &plain)
                .and_then(|meant| known.iter().find(|known| kebab(known) == meant));
            match meant {
                Some(meant) => {
                    format!("{name} is set, but nothing reads it; did you mean {meant}?")
                }
                None => format!(
                    "{name} is set, but nothing reads it: unset it (docs/configuration.md has all variables)"
                ),
            }
        })
        .collect();
    strangers.sort();
    strangers
}

/// What is wrong with the values of variables that no flag of `arguments` overrides: the command
/// line's parser would name one of them, by its flag.
pub fn faulty(options: &Command, arguments: &[OsString]) -> Vec<String> {
    let is_given = |flag: &str| {
        arguments.iter().any(|argument| {
            let argument = argument.to_string_lossy();
            argument.split('=').next() == Some(flag)
        })
    };
    let faults = options.get_arguments().filter_map(|option| {
        let name = option.get_env()?;
        let value = variable(name)?;
        if is_given(&format!("--{}", option.get_long()?)) {
            return None;
        }
        let why = fault(option, &value)?;
        let name = name.to_string_lossy();
        Some(match is_secret(option.get_id().as_str()) {
            true => format!("{name}: {why}"),
            false => format!("{name} is {:?}: {why}", value.to_string_lossy()),
        })
    });
    faults.collect()
}
