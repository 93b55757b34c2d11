//! How the environment reaches the flags: empty variables count as unset, values are never shown in
//! help, and variables that nobody reads are named with the one that was probably meant.

use std::ffi::OsString;

use clap::Command;

/// Variables that are read outside of [`Config`](super::Config).
const OTHERS: [&str; 3] = ["ORDAIN_SERVER", "ORDAIN_LOG", "ORDAIN_TOKEN"];

/// The command with its variables made safe, its subcommands too.
pub fn prepared(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let empty = argument
                .get_env()
                .and_then(std::env::var_os)
                .is_some_and(|value| value.is_empty());
            // Values may hold passwords, and help is pasted into tickets.
            let argument = argument.hide_env_values(true);
            if empty {
                argument.env(None::<&'static str>)
            } else {
                argument
            }
        })
        .mut_subcommands(prepared)
}

/// One remark for every `ORDAIN_` variable that nothing reads.
pub fn strangers(
    command: &Command,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<String> {
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env().and_then(|name| name.to_str()))
        .chain(OTHERS)
        .collect();
    variables
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("ORDAIN_") && !known.contains(&name.as_str()))
        .map(|name| {
            let nearest = known
                .iter()
                .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), *candidate))
                .min()
                .filter(|(distance, _)| *distance <= 4);
            match nearest {
                Some((_, candidate)) => {
                    format!("{name} is set, but nothing reads it; did you mean {candidate}?")
                }
                None => format!("{name} is set, but nothing reads it"),
            }
        })
        .collect()
}
