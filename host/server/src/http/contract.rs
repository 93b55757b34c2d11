//! What a route says of itself beside its handler: parameters, body and answers, as the OpenAPI
//! document has them. Not for how it is written there (`openapi`), nor for routes (`route`).

/// A parameter, in the path, the query or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the document; two of one name may mean different things in different calls.
    pub key: &'static str,
    pub name: &'static str,
    pub place: Place,
    pub description: &'static str,
    /// In JSON.
    pub schema: &'static str,
    /// In JSON.
    pub example: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        }
    }
}

/// A header of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub name: &'static str,
    pub description: &'static str,
    /// In JSON.
    pub schema: &'static str,
    /// In JSON.
    pub example: &'static str,
}

pub const REVISION: Header = Header {
    name: "Ordain-Revision",
    description: "Of a write its revision, of a read the position up to which the answer is \
                  complete",
    schema: r##"{"$ref": "#/components/schemas/Revision"}"##,
    example: "1795415632929977",
};
pub const ETAG: Header = Header {
    name: "ETag",
    description: "The revision of the record, in quotes",
    schema: r#"{"type": "string"}"#,
    example: r#""\"1795415632929977\"""#,
};

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub kinds: &'static [&'static str],
    /// A schema of [`SCHEMAS`](super::api::SCHEMAS), by name.
    pub schema: &'static str,
}

const JSON: &[&str] = &["application/json"];

/// The body that a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    pub content: Content,
    /// Whether it can be left out.
    pub optional: bool,
}

impl Body {
    pub const fn json(schema: &'static str) -> Body {
        Body::of(JSON, schema)
    }

    pub const fn of(kinds: &'static [&'static str], schema: &'static str) -> Body {
        Body {
            content: Content { kinds, schema },
            optional: false,
        }
    }

    pub const fn or_none(self) -> Body {
        Body {
            optional: true,
            ..self
        }
    }
}

/// An answer that is no problem. Problems are answers of every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub headers: &'static [Header],
    pub content: Option<Content>,
}

/// The client has it already.
pub const NOT_MODIFIED: Answer = Answer {
    status: 304,
    description: "The client has it already",
    headers: &[REVISION, ETAG],
    content: None,
};

impl Answer {
    /// JSON with the revision that it is of.
    pub const fn json(status: u16, description: &'static str, schema: &'static str) -> Answer {
        Answer {
            headers: &[REVISION],
            ..Answer::of(status, description, JSON, schema)
        }
    }

    /// Without a header of ours.
    pub const fn of(
        status: u16,
        description: &'static str,
        kinds: &'static [&'static str],
        schema: &'static str,
    ) -> Answer {
        Answer {
            status,
            description,
            headers: &[],
            content: Some(Content { kinds, schema }),
        }
    }

    /// With the record's tag.
    pub const fn tagged(self) -> Answer {
        Answer {
            headers: &[REVISION, ETAG],
            ..self
        }
    }
}
