//! Parameters that several calls take. Those of one call alone stand beside it, in `api`.

use super::contract::{Parameter, Place};

/// Every name that a path may have in it.
pub const IN_PATHS: [Parameter; 2] = [
    Parameter {
        key: "tenant",
        name: "tenant",
        place: Place::Path,
        description: "Percent-encoded, `/` too",
        schema: r##"{"$ref": "#/components/schemas/Id"}"##,
        example: r#""acme""#,
    },
    Parameter {
        key: "user",
        name: "user",
        place: Place::Path,
        description: "Percent-encoded, `/` too",
        schema: r##"{"$ref": "#/components/schemas/Id"}"##,
        example: r#""ann@example""#,
    },
];

pub const LIMIT: Parameter = Parameter {
    key: "limit",
    name: "limit",
    place: Place::Query,
    description: "Items of a page",
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 500, "default": 50}"#,
    example: "100",
};
pub const CURSOR: Parameter = Parameter {
    key: "cursor",
    name: "cursor",
    place: Place::Query,
    description: "`nextCursor` of the page before",
    schema: r#"{"type": "string"}"#,
    example: r#""61636d65""#,
};
pub const REASON: Parameter = Parameter {
    key: "reason",
    name: "reason",
    place: Place::Query,
    description: "Goes into the history; instead of the header",
    schema: r#"{"type": "string", "maxLength": 500}"#,
    example: r#""new model""#,
};
pub const REASON_HEADER: Parameter = Parameter {
    key: "Ordain-Reason",
    name: "Ordain-Reason",
    place: Place::Header,
    description: "Goes into the history: at most 500 bytes of UTF-8, percent-encoded where it is \
                  not ASCII",
    schema: r#"{"type": "string"}"#,
    example: r#""new caf%C3%A9""#,
};
pub const MIN_REVISION: Parameter = Parameter {
    key: "Ordain-Min-Revision",
    name: "Ordain-Min-Revision",
    place: Place::Header,
    description: "The answer reflects the log up to here, or is 409",
    schema: r##"{"$ref": "#/components/schemas/Revision"}"##,
    example: "1795415632929977",
};
pub const IF_MATCH: Parameter = Parameter {
    key: "If-Match",
    name: "If-Match",
    place: Place::Header,
    description: "ETags, or `*`: only over one of these",
    schema: r#"{"type": "string"}"#,
    example: r#""\"1795415632929977\"""#,
};
pub const IF_NONE_MATCH: Parameter = Parameter {
    key: "If-None-Match",
    name: "If-None-Match",
    place: Place::Header,
    description: "`*`: only if there is nothing",
    schema: r#"{"type": "string"}"#,
    example: r#""*""#,
};
/// The same header where nothing is written.
pub const KNOWN: Parameter = Parameter {
    key: "known",
    name: "If-None-Match",
    place: Place::Header,
    description: "ETags that the client has: 304 if one holds",
    schema: r#"{"type": "string"}"#,
    example: r#""\"1795415632929977\"""#,
};

/// Which page of a list.
pub const PAGE: &[Parameter] = &[LIMIT, CURSOR, MIN_REVISION];
/// Why, of a change that depends on nothing that is stored.
pub const CHANGE: &[Parameter] = &[REASON, REASON_HEADER];
/// Why, and over what.
pub const WRITE: &[Parameter] = &[IF_MATCH, IF_NONE_MATCH, REASON, REASON_HEADER];
