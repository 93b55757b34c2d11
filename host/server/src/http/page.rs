//! Keyset pages: which part of a list is asked for, and the list. A cursor is opaque to callers:
//! hexadecimal, so that no odd id needs escaping twice. Not for what is listed.

use axum::http::HeaderMap;
use serde::Serialize;

use super::headers;
use super::problem::Problem;
use super::query::Query;

const DEFAULT_LIMIT: u32 = 50;
const LIMIT: u32 = 500;

/// A page as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// Which part of a list is asked for.
pub struct Part {
    /// What `nextCursor` was made of.
    pub after: Option<String>,
    pub limit: u32,
    pub min_revision: u64,
}

impl Part {
    pub fn read(query: &Query, headers: &HeaderMap) -> Result<Part, Problem> {
        Ok(Part {
            after: query.get("cursor").map(read_cursor).transpose()?,
            limit: read_limit(query)?,
            min_revision: headers::min_revision(headers)?,
        })
    }

    /// Where the list is one of revisions.
    pub fn before(&self) -> Result<Option<u64>, Problem> {
        let number = |text: &String| text.parse().map_err(|_| bad_cursor());
        self.after.as_ref().map(number).transpose()
    }
}

fn read_limit(query: &Query) -> Result<u32, Problem> {
    let Some(text) = query.get("limit") else {
        return Ok(DEFAULT_LIMIT);
    };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LIMIT).contains(limit))
        .ok_or_else(|| {
            let detail = format!("limit must be an integer from 1 to {LIMIT}");
            Problem::bad("invalid-parameter", detail)
        })
}

fn read_cursor(text: &str) -> Result<String, Problem> {
    decode(text).ok_or_else(bad_cursor)
}

fn bad_cursor() -> Problem {
    let detail = "cursor must be a nextCursor that this call has returned";
    Problem::bad("invalid-parameter", detail)
}

pub fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(cursor: &str) -> Option<String> {
    let digits = cursor.as_bytes();
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || !digits.iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_any_id_and_others_are_refused() {
        for id in ["acme", "a/b %:ü", "default"] {
            let cursor = encode(id);
            assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert_eq!(decode(&cursor).as_deref(), Some(id));
        }
        for bad in ["", "a", "zz", "ff", "00", "acme"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_page_says_so_with_null() {
        let list: List<u64> = List {
            items: Vec::new(),
            next_cursor: None,
        };
        assert_eq!(
            serde_json::to_string(&list).expect("JSON"),
            r#"{"items":[],"nextCursor":null}"#
        );
    }
}
