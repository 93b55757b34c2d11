//! `GET /v1/tenants` and histories: keyset pages. A cursor is opaque to
//! callers: hexadecimal, so that no odd id needs escaping twice.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use super::app::App;
use super::policy::within;
use super::problem::Problem;
use super::resolve::json;
use super::{headers, input};
use ordain_store::ids::Key;
use ordain_store::{HistoryEntry, Page, TenantEntry};

const DEFAULT_LIMIT: u32 = 50;
const LIMIT: u32 = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct TenantItem {
    tenant: String,
    revision: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HistoryItem {
    revision: u64,
    at: String,
    actor: String,
    op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<Box<RawValue>>,
}

pub async fn tenants(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = input::Query::read(&uri, &["limit", "cursor"])?;
    let limit = limit(&query)?;
    let after = query
        .get("cursor")
        .map(|text| decode(text).ok_or_else(bad_cursor))
        .transpose()?;
    let min_revision = headers::min_revision(&headers)?;
    let page: Page<TenantEntry> = within(
        app.deadline,
        app.ordain.tenants(after.as_deref(), limit, min_revision),
    )
    .await??;
    let last = page.items.last().map(|entry| encode(&entry.tenant));
    let items = page.items.into_iter().map(|entry| TenantItem {
        tenant: entry.tenant,
        revision: entry.revision,
    });
    let list = List {
        items: items.collect(),
        next_cursor: last.filter(|_| page.more),
    };
    json(&list, page.as_of)
}

pub async fn history(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = input::tenant(&uri)?;
    let Part {
        before,
        limit,
        min_revision,
    } = Part::read(&uri, &headers)?;
    let key = Key::policy(&tenant);
    let page = app.ordain.long_page(key, before, limit, min_revision);
    let (page, _place) = within(app.deadline, page).await??;
    history_page(page).await
}

/// Which part of a history is asked for.
pub struct Part {
    pub before: Option<u64>,
    pub limit: u32,
    pub min_revision: u64,
}

impl Part {
    pub fn read(uri: &Uri, headers: &HeaderMap) -> Result<Part, Problem> {
        let query = input::Query::read(uri, &["limit", "cursor"])?;
        let before = query.get("cursor").map(|text| {
            decode(text)
                .and_then(|number| number.parse().ok())
                .ok_or_else(bad_cursor)
        });
        Ok(Part {
            before: before.transpose()?,
            limit: limit(&query)?,
            min_revision: headers::min_revision(headers)?,
        })
    }
}

pub async fn history_page(page: Page<HistoryEntry>) -> Result<Response, Problem> {
    let last = page
        .items
        .last()
        .map(|entry| encode(&entry.revision.to_string()));
    let mut items = Vec::with_capacity(page.items.len());
    for entry in page.items {
        items.push(HistoryItem::from(entry));
        // A record is looked at from end to end; others have their turn.
        tokio::task::yield_now().await;
    }
    let list = List {
        items,
        next_cursor: last.filter(|_| page.more),
    };
    json(&list, page.as_of)
}

impl From<HistoryEntry> for HistoryItem {
    fn from(entry: HistoryEntry) -> HistoryItem {
        HistoryItem {
            revision: entry.revision,
            at: entry.at,
            actor: entry.actor,
            op: entry.op,
            request_id: entry.request_id,
            reason: entry.reason,
            record: entry.body.and_then(embedded),
        }
    }
}

/// A record as part of a document. One that was made no JSON by hand is shown as a string.
pub fn embedded(body: String) -> Option<Box<RawValue>> {
    match RawValue::from_string(body.clone()) {
        Ok(record) => Some(record),
        Err(_) => serde_json::value::to_raw_value(&body).ok(),
    }
}

fn limit(query: &input::Query) -> Result<u32, Problem> {
    match query.get("limit") {
        None => Ok(DEFAULT_LIMIT),
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT).contains(limit))
            .ok_or_else(|| {
                let detail = format!("limit must be an integer from 1 to {LIMIT}");
                Problem::bad("invalid-parameter", detail)
            }),
    }
}

fn bad_cursor() -> Problem {
    let detail = "cursor must be a nextCursor that this call has returned";
    Problem::bad("invalid-parameter", detail)
}

fn encode(text: &str) -> String {
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
    fn a_record_in_the_history_keeps_its_text() {
        let record = embedded(r#"{"b":1.0,"a":2}"#.into()).expect("a record");
        assert_eq!(record.get(), r#"{"b":1.0,"a":2}"#);
        assert_eq!(
            embedded("no json".into()).expect("a string").get(),
            "\"no json\""
        );
    }

    #[test]
    fn the_last_page_says_so_with_null() {
        let list: List<TenantItem> = List {
            items: Vec::new(),
            next_cursor: None,
        };
        assert_eq!(
            serde_json::to_string(&list).expect("JSON"),
            r#"{"items":[],"nextCursor":null}"#
        );
    }
}
