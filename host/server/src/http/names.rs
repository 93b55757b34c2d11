//! Names of headers and the forms of their values that errors need as well. Not for what requests
//! bring in them (`headers`).

use axum::http::{HeaderName, HeaderValue};

pub const REVISION: HeaderName = HeaderName::from_static("ordain-revision");
pub const MIN_REVISION: HeaderName = HeaderName::from_static("ordain-min-revision");
pub const REASON: HeaderName = HeaderName::from_static("ordain-reason");
pub const SIGNATURE: HeaderName = HeaderName::from_static("ordain-signature");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Codings of bodies that a client may choose from.
pub const TAKEN: &str = "gzip, deflate, zstd";

pub fn etag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("quoted digits are header text")
}
