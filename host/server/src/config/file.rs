//! `ordain.toml`: the same options as flags and variables, one a line. Every key and value is
//! checked by the options' own parsers, and all that is wrong is told at once, with its line. Not
//! for what values do.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::de::{DeTable, DeValue};

use super::files;
use super::meant::{kebab, meant};
use super::secrets::{LISTS, is_secret, reveals};
use super::unnamed::Reader;
use ordain_store::secret::misplaced;
use ordain_store::utf8;

/// Looked for in the working directory.
const NAME: &str = "ordain.toml";
/// Most bytes of a file: a device has no end.
const LIMIT: u64 = 1 << 20;
/// The option that names the file; it cannot be in the file.
pub const CONFIG_FILE: &str = "config_file";

/// Flags of `serve` that say what to do, not how.
const FLAGS_ALONE: [&str; 6] = ["dev", "no-migrate", "print-config", "load", "json", "log"];

/// Values of a file, for options that neither a flag nor a variable sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub values: Vec<FileValue>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct FileValue {
    /// Id of the option.
    pub id: String,
    pub key: String,
    /// Counted from 1.
    pub line: usize,
    /// As a flag would have it.
    pub value: String,
}

impl std::fmt::Debug for FileValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (line {})", self.key, self.line)
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{} is no file: --config and ORDAIN_CONFIG name a file like ordain.toml", .0.display())]
    NoFile(PathBuf),
    #[error("{}, line {line}, column {column}: this is not TOML: {why}", path.display())]
    Malformed {
        path: PathBuf,
        line: usize,
        column: usize,
        why: String,
    },
    /// A fault a line.
    #[error("{} cannot be used:{}", path.display(), listed(.faults))]
    Faults { path: PathBuf, faults: Vec<String> },
    /// A fault a line.
    #[error(
        "{} lies in the working directory and nobody named it, so this is not taken from it:{}\n  name the \
         file, if it is yours: {how}",
        path.display(),
        listed(.faults)
    )]
    Unnamed {
        path: PathBuf,
        faults: Vec<String>,
        how: &'static str,
    },
    #[error(
        "{0} holds a secret (`{key}`, line {line}) and its mode {mode:04o} lets everybody read it: chmod 640 {0}",
        path.display()
    )]
    Open {
        path: PathBuf,
        key: String,
        line: usize,
        mode: u32,
    },
}

fn listed(faults: &[String]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        // Writing to a String does not fail.
        let _ = write!(text, "\n  {fault}");
        text
    })
}

impl File {
    /// Reads the file that is named, else `ordain.toml` of the working directory if there is one.
    /// `options`: a command whose arguments are the options.
    pub fn load(
        named: Option<&Path>,
        options: &Command,
        reader: Reader,
    ) -> Result<Option<File>, FileError> {
        let named = named.filter(|path| !path.as_os_str().is_empty());
        let path = match named {
            Some(path) => path.to_owned(),
            // Also a link to nowhere and a file that cannot be looked at are there, and must be
            // told.
            None if is_there(Path::new(NAME)) => NAME.into(),
            None => return Ok(None),
        };
        // A pipe may be named; one that lies about would be waited for without a word.
        let is_none =
            |found: std::fs::Metadata| found.is_dir() || (named.is_none() && !found.is_file());
        if path.metadata().is_ok_and(is_none) {
            return Err(FileError::NoFile(path));
        }
        let text = match text_within_limit(&path) {
            Ok(text) => text,
            Err(error) => {
                let why = unreadable(&error);
                return Err(FileError::Unreadable { path, why });
            }
        };
        let values = parse(&path, &text, options)?;
        if named.is_none() {
            check_unnamed(&path, &values, reader)?;
        }
        let secret = values.iter().find(|one| reveals(&one.id, &one.value));
        if let Some(secret) = secret
            && let Some(mode) = files::open_to_everybody(&path)
        {
            let (key, line) = (secret.key.clone(), secret.line);
            return Err(FileError::Open {
                path,
                key,
                line,
                mode,
            });
        }
        Ok(Some(File { path, values }))
    }

    /// The options with the values of the file as their defaults: a variable wins over them, and a
    /// flag over that.
    pub fn as_defaults(&self, options: Command) -> Command {
        self.values.iter().fold(options, |options, one| {
            options.mut_arg(&one.id, |option| option.default_value(one.value.clone()))
        })
    }
}

fn is_there(path: &Path) -> bool {
    !matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn text_within_limit(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(std::io::Error::other(format!(
            "it is larger than {} KiB, which no configuration is",
            LIMIT >> 10
        )));
    }
    match utf8::read(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(std::io::Error::new(
            ErrorKind::InvalidData,
            format!("it is {error}"),
        )),
    }
}

/// Why, and what to do.
fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("{error}; make it, or name another by --config or ORDAIN_CONFIG")
        }
        ErrorKind::PermissionDenied => {
            format!("{error}; let the user that runs ordain read it (chgrp, chmod g+r)")
        }
        ErrorKind::InvalidData => format!("{error}; save it as UTF-8"),
        _ => error.to_string(),
    }
}

/// Refuses a file that nobody named for what it must not say.
fn check_unnamed(path: &Path, values: &[FileValue], reader: Reader) -> Result<(), FileError> {
    let refused = values.iter().filter(|value| reader.refuses(&value.id));
    let faults: Vec<String> = refused
        .map(|value| format!("line {}: `{}`", value.line, value.key))
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(FileError::Unnamed {
            path: path.to_owned(),
            faults,
            how: reader.how(),
        }),
    }
}

fn parse(path: &Path, text: &str, options: &Command) -> Result<Vec<FileValue>, FileError> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let (line, column) = place(text, at);
        FileError::Malformed {
            path: path.to_owned(),
            line,
            column,
            why: error.message().to_owned(),
        }
    })?;
    let mut values = Vec::new();
    let mut faults = Vec::new();
    for (key, value) in table.get_ref() {
        let (line, _) = place(text, key.span().start);
        match read(key.get_ref(), value.get_ref(), options) {
            Ok(Some((option, value))) => values.push(FileValue {
                id: option.get_id().to_string(),
                key: key.get_ref().to_string(),
                line,
                value,
            }),
            Ok(None) => {}
            Err(why) => faults.push((line, format!("line {line}: {why}"))),
        }
    }
    values.sort_by_key(|one| one.line);
    faults.sort();
    if faults.is_empty() {
        return Ok(values);
    }
    Err(FileError::Faults {
        path: path.to_owned(),
        faults: faults.into_iter().map(|(_, fault)| fault).collect(),
    })
}

/// Line and column of a byte, counted from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    (line, last.chars().count() + 1)
}

/// The option that is meant and its value as a flag would have it; `None`: it is empty, so unset.
fn read<'a>(
    key: &str,
    value: &DeValue<'_>,
    options: &'a Command,
) -> Result<Option<(&'a Arg, String)>, String> {
    if let DeValue::Table(_) = value {
        let key = key.escape_debug();
        return Err(format!(
            "`{key}` is a section, and there are none: every option is one line, like bound = \"2s\""
        ));
    }
    let option = options
        .get_arguments()
        .find(|option| option.get_long() == Some(key) && option.get_id() != CONFIG_FILE)
        .ok_or_else(|| unknown(key, options))?;
    let id = option.get_id().as_str();
    let mut text = text_of(id, value).map_err(|why| format!("{key}: {why}"))?;
    // As in a variable.
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.is_empty() {
        return Ok(None);
    }
    match fault(option, text.as_ref()) {
        None => Ok(Some((option, text))),
        Some(why) if is_secret(id) => Err(format!("{key}: {why}")),
        Some(why) => Err(format!("{key} = {:?}: {why}", misplaced(&text))),
    }
}

fn text_of(id: &str, value: &DeValue<'_>) -> Result<String, String> {
    let is_list = LISTS.contains(&id);
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "is no number".to_owned()),
        DeValue::Array(items) if is_list => {
            let items = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) if !text.contains(',') => Ok(text.to_string()),
                DeValue::String(_) => Err("an item of the list has a comma in it".to_owned()),
                other => Err(format!("a list has strings in it, not {}", kind(other))),
            });
            Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        DeValue::Array(_) => Err("takes one value, not a list".to_owned()),
        other => Err(format!("takes a string like \"2s\", not {}", kind(other))),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// What the option's own parser says against a value.
pub fn fault(option: &Arg, value: &OsStr) -> Option<String> {
    let mut flag = OsString::from(format!("--{}=", option.get_long()?));
    flag.push(value);
    let alone = option.clone().env(None::<&'static str>);
    let command = Command::new("ordain").no_binary_name(true).arg(alone);
    let error = command.try_get_matches_from([flag]).err()?;
    if error.kind() == clap::error::ErrorKind::InvalidUtf8 {
        return Some("it must be UTF-8".to_owned());
    }
    Some(match std::error::Error::source(&error) {
        Some(why) => why.to_string(),
        // The parser's own words, without the hint to a help that nobody asked for.
        None => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        }
    })
}

fn unknown(key: &str, options: &Command) -> String {
    if options
        .get_arguments()
        .any(|option| option.get_long() == Some(key))
    {
        return format!("`{key}` names this file and cannot be in it");
    }
    if FLAGS_ALONE.contains(&key) {
        return format!("`{key}` is for the command line alone");
    }
    let known: Vec<_> = options
        .get_arguments()
        .filter(|option| option.get_id() != CONFIG_FILE)
        .filter_map(Arg::get_long)
        .collect();
    let meant = meant(&kebab(key), &known);
    // Quoted keys may hold what a terminal obeys.
    let key = key.escape_debug();
    match meant {
        Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?"),
        None => format!("unknown key `{key}`; the keys are the flags of `ordain serve --help`"),
    }
}
