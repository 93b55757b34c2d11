//! Where the value of each option comes from, to be shown beside it and to be named where it is
//! wrong. Not for the values.

use std::collections::BTreeMap;
use std::fmt;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::file::File;

/// Who said so, from the strongest to the weakest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The flag.
    Flag(String),
    Environment,
    /// File and line.
    File(String, usize),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "flag {flag}"),
            Source::Environment => f.write_str("environment"),
            Source::File(path, line) => write!(f, "{path}, line {line}"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// By variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, Source>);

impl Sources {
    /// `options`: the command that `matches` are of, before the file's values became its defaults.
    pub fn new(options: &Command, matches: &ArgMatches, file: Option<&File>) -> Sources {
        let of = options.get_arguments().filter_map(|option| {
            let variable = option.get_env()?.to_str()?.to_owned();
            let id = option.get_id().as_str();
            let in_file = || {
                let file = file?;
                let one = file.values.iter().find(|one| one.id == id)?;
                Some(Source::File(file.path.display().to_string(), one.line))
            };
            let source = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Source::Flag(format!("--{}", option.get_long()?)),
                // Also one that had to be trimmed, which the parser does not know.
                _ if super::variable(&variable).is_some() => Source::Environment,
                _ => in_file().unwrap_or(Source::Default),
            };
            Some((variable, source))
        });
        Sources(of.collect())
    }

    pub fn of(&self, variable: &str) -> Source {
        self.0.get(variable).cloned().unwrap_or(Source::Default)
    }

    /// Adds to a message where the options that it names are set: whoever wrote `bound` into a file
    /// does not look for ORDAIN_BOUND.
    pub fn told(&self, message: &str) -> String {
        let mut told = message.to_owned();
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        for (variable, source) in &self.0 {
            let is_named = message.split(word).any(|named| named == variable);
            if is_named && matches!(source, Source::Flag(_) | Source::File(..)) {
                told += &format!("\n  {variable} is set by {source}");
            }
        }
        told
    }
}
