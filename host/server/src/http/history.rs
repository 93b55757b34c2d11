//! The changes of one record, newest first, as they are answered. Not for which record: that is the
//! call's.

use std::time::Duration;

use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::json;
use super::deadline::bound;
use super::page::{List, Part, encode};
use super::problem::Problem;
use ordain::door::Ordain;
use ordain_store::ids::Key;
use ordain_store::{HistoryEntry, Page};

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

/// A page of the changes under a key.
pub async fn answer_page(
    ordain: &Ordain,
    deadline: Duration,
    key: Key,
    part: Part,
) -> Result<Response, Problem> {
    let read = ordain.long_page(key, part.before()?, part.limit, part.min_revision);
    let (page, _place) = bound(deadline, read).await??;
    write_page(page).await
}

async fn write_page(page: Page<HistoryEntry>) -> Result<Response, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_the_history_keeps_its_text() {
        let record = embedded(r#"{"b":1.0,"a":2}"#.into()).expect("a record");
        assert_eq!(record.get(), r#"{"b":1.0,"a":2}"#);
        assert_eq!(
            embedded("no json".into()).expect("a string").get(),
            "\"no json\""
        );
    }
}
