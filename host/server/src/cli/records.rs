//! Files of policies: JSON lines, a list, or an object from tenant to record. Reads all of a file,
//! what is in order and what is wrong with the rest; whether a record is valid is for the guest to
//! say.

use std::collections::HashMap;
use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reply::Failure;
use crate::http::{Line, RECORD_LIMIT};
use ordain_store::ids::Tenant;
use ordain_store::utf8;

/// What is in a file, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policies {
    pub entries: Vec<Entry>,
    pub broken: Vec<Broken>,
}

/// One policy of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How many come before it.
    pub at: usize,
    /// Where it is: `line 3`, `item 3` (counted from 1) or `policy 3`.
    pub place: String,
    pub tenant: Tenant,
    pub record: String,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    #[serde(skip)]
    pub at: usize,
    pub place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// In the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(tenant) = &self.tenant {
            write!(f, ", tenant {tenant:?}")?;
        }
        match self.pointer.as_deref() {
            Some(pointer) if !pointer.is_empty() => write!(f, ": {pointer}: {}", self.message),
            _ => write!(f, ": {}", self.message),
        }
    }
}

/// All of a file, `-` for standard input.
pub fn read_input(file: &str) -> Result<Vec<u8>, Failure> {
    if file == "-" {
        let mut input = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut input);
        return read
            .map(|_| input)
            .map_err(|error| Failure::new(format!("standard input cannot be read: {error}")));
    }
    std::fs::read(file).map_err(|error| Failure::new(format!("{file} cannot be read: {error}")))
}

/// The members of an object in their order, repeated names included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Reads the policies of a file in any of its three forms.
pub fn parse(text: &str) -> Policies {
    let text = utf8::unmarked(text);
    match drafts(text) {
        Ok(drafts) => finish(drafts),
        Err(error) => Policies {
            broken: vec![Broken {
                at: 0,
                place: "file".to_owned(),
                tenant: None,
                pointer: None,
                message: error.to_string(),
            }],
            ..Policies::default()
        },
    }
}

/// An error if the text as a whole is none of the three forms.
fn drafts(text: &str) -> Result<Vec<Draft>, serde_json::Error> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        // A file that was put together of several may have a mark in the middle.
        .map(utf8::unmarked)
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    Ok(if text.trim_start().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        items
            .iter()
            .enumerate()
            .map(|(at, item)| of_line(at, format!("item {}", at + 1), item.get()))
            .collect()
    } else if is_lines(&lines) {
        lines
            .iter()
            .map(|(at, line)| of_line(*at, format!("line {}", at + 1), line))
            .collect()
    } else {
        let Members(members) = serde_json::from_str(text)?;
        let place = |at| format!("policy {}", at + 1);
        members
            .into_iter()
            .enumerate()
            .map(|(at, (tenant, record))| of_record(at, place(at), tenant, record.get()))
            .collect()
    })
}

/// JSON lines, rather than one document: several lines that each begin an object of their own, or
/// one that is an entry.
fn is_lines(lines: &[(usize, &str)]) -> bool {
    let Some((_, first)) = lines.first() else {
        return true;
    };
    let entry = serde_json::from_str::<Line<'_>>(first).is_ok();
    let complete = serde_json::from_str::<IgnoredAny>(first).is_ok();
    let second = lines
        .get(1)
        .is_some_and(|(_, line)| line.trim_start().starts_with("{\"tenant\""));
    entry || second || (complete && lines.len() > 1)
}

type Draft = Result<Entry, Broken>;

fn of_line(at: usize, place: String, text: &str) -> Draft {
    match serde_json::from_str::<Line<'_>>(text) {
        Ok(line) => of_record(at, place, line.tenant, line.policy.get()),
        Err(error) => Err(Broken {
            at,
            place,
            tenant: None,
            pointer: None,
            message: Line::fault(&error),
        }),
    }
}

fn of_record(at: usize, place: String, tenant: String, record: &str) -> Draft {
    let broken = |message: String| Broken {
        at,
        place: place.clone(),
        tenant: Some(tenant.clone()),
        pointer: None,
        message,
    };
    let id = Tenant::new(&tenant).map_err(|error| broken(error.to_string()))?;
    if record.len() > RECORD_LIMIT {
        return Err(broken(format!(
            "the record has {} bytes, at most {RECORD_LIMIT} are taken",
            record.len()
        )));
    }
    Ok(Entry {
        at,
        place,
        tenant: id,
        record: record.to_owned(),
    })
}

fn finish(drafts: Vec<Draft>) -> Policies {
    let (mut entries, mut broken) = (Vec::with_capacity(drafts.len()), Vec::new());
    let mut seen: HashMap<Tenant, String> = HashMap::new();
    for draft in drafts {
        match draft {
            Err(fault) => broken.push(fault),
            Ok(entry) => {
                // Which of the two was meant is not ours to guess.
                if let Some(earlier) = seen.insert(entry.tenant.clone(), entry.place.clone()) {
                    broken.push(Broken {
                        at: entry.at,
                        place: entry.place.clone(),
                        tenant: Some(entry.tenant.as_str().to_owned()),
                        pointer: None,
                        message: format!("the tenant has a policy at {earlier} already"),
                    });
                }
                entries.push(entry);
            }
        }
    }
    Policies { entries, broken }
}
