//! Conditions of requests: `If-Match` and `If-None-Match`, as a write and as a read have them. Not
//! for who compares: that is the origin.

use std::future::Future;

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::problem::Problem;
use ordain::door::{ReadError, Stored};
use ordain_store::Precondition;

/// What a write demands of the stored record.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    Plain(Precondition),
    /// Any of several revisions.
    AnyOf(Vec<u64>),
}

/// Reads `If-Match` and `If-None-Match` of a write.
pub fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    match (tags(headers, &IF_MATCH)?, tags(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::Plain(Precondition::None)),
        (Some(_), Some(_)) => Err(Problem::bad(
            "invalid-header",
            "If-Match and If-None-Match exclude each other",
        )),
        (None, Some(Tags::Any)) => Ok(Condition::Plain(Precondition::Absent)),
        (None, Some(_)) => Err(Problem::bad(
            "invalid-header",
            "If-None-Match of a write can only be *",
        )),
        (Some(Tags::Any), None) => Ok(Condition::Plain(Precondition::Present)),
        (Some(Tags::List(list)), None) => {
            let mut revisions: Vec<u64> = list.iter().filter_map(|tag| revision(tag)).collect();
            match revisions.len() {
                // No record has revision 0, so a tag that is none of ours matches nothing.
                0 => Ok(Condition::Plain(Precondition::Revision(0))),
                1 => Ok(Condition::Plain(Precondition::Revision(
                    revisions.remove(0),
                ))),
                _ => Ok(Condition::AnyOf(revisions)),
            }
        }
    }
}

/// Whether a reader already has this revision (`If-None-Match`, weak comparison).
pub fn already_known(headers: &HeaderMap, known: u64) -> Result<bool, Problem> {
    Ok(match tags(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::List(list)) => list.iter().any(|tag| revision(tag) == Some(known)),
    })
}

enum Tags {
    Any,
    /// What stands between the quotes. Whether a tag is weak does not matter: a revision names one
    /// record exactly, however a proxy has packed it.
    List(Vec<String>),
}

/// What a proxy that compresses writes after a tag: `7-gzip`, `7--gzip`, `7;gzip`, `7:br`.
const MARKS: [&str; 11] = [
    "gzip",
    "x-gzip",
    "brotli",
    "br",
    "zstd",
    "deflate",
    "compress",
    "x-compress",
    "dcb",
    "dcz",
    "identity",
];

/// The revision, if the tag is written the way we write it, or as a proxy has marked it, or
/// several.
fn revision(tag: &str) -> Option<u64> {
    let digits = tag.bytes().take_while(u8::is_ascii_digit).count();
    let (number, mut marks) = tag.split_at(digits);
    while !marks.is_empty() {
        let mark = marks.trim_start_matches(['-', ';', ':', '+', '.', '_']);
        let name = MARKS.iter().find(|name| begins_with(mark, name))?;
        if mark.len() == marks.len() {
            return None;
        }
        marks = &mark[name.len()..];
    }
    let revision: u64 = number.parse().ok()?;
    (revision.to_string() == number).then_some(revision)
}

fn begins_with(text: &str, name: &str) -> bool {
    let start = text.as_bytes().get(..name.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
}

/// Reads a list of entity tags (RFC 9110 8.8.3), over several lines if need be.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let broken = || {
        let detail = format!("{name} must be * or a list of tags like \"1795420800123456\"");
        Problem::bad("invalid-header", detail)
    };
    let mut list = Vec::new();
    let mut any = false;
    let mut given = false;
    for value in headers.get_all(name) {
        given = true;
        let mut rest = value.to_str().map_err(|_| broken())?.trim();
        if rest == "*" {
            any = true;
            continue;
        }
        while !rest.is_empty() {
            let quoted = rest.strip_prefix("W/").unwrap_or(rest);
            let (text, after) = quoted
                .strip_prefix('"')
                .and_then(|open| open.split_once('"'))
                .ok_or_else(broken)?;
            if text.bytes().any(|byte| byte <= b' ') {
                return Err(broken());
            }
            list.push(text.to_owned());
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start_matches([' ', '\t', ',']),
                None if after.is_empty() => after,
                None => return Err(broken()),
            };
        }
    }
    match (given, any, list.is_empty()) {
        (false, ..) => Ok(None),
        (true, true, true) => Ok(Some(Tags::Any)),
        (true, false, false) => Ok(Some(Tags::List(list))),
        _ => Err(broken()),
    }
}

/// Origins compare with one revision. Of several, the one that `stored` says is taken; should it
/// change before the write, the write fails as it must.
pub async fn settle(
    condition: Condition,
    stored: impl Future<Output = Result<Stored, ReadError>>,
) -> Result<Precondition, Problem> {
    let revisions = match condition {
        Condition::Plain(precondition) => return Ok(precondition),
        Condition::AnyOf(revisions) => revisions,
    };
    let stored = stored.await?.record.map(|record| record.revision);
    Ok(Precondition::Revision(
        stored.filter(|now| revisions.contains(now)).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests;
