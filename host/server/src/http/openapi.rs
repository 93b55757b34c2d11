//! What can be called, as OpenAPI 3.1 has it: written from the routes and the schemas beside them.
//! `docs/openapi.json` is this text. Not for what a route or a schema says (`api`).

use std::sync::LazyLock;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;

use super::api::SCHEMAS;
use super::contract::{Answer, Body, Content, ETAG, Header, Parameter, REVISION};
use super::object::members;
use super::parameters::IN_PATHS;
use super::route::Route;
use super::routes::all;
use crate::access::{Need, Role};

/// What holds for all calls.
const INFO: &str = r#"{
  "title": "Ordain",
  "version": "1",
  "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
  "description": "Which provider and model may serve this tenant, user and task. Bodies are JSON in UTF-8, as they are or encoded (gzip, deflate, zstd). HEAD is taken where GET is. Unknown fields and parameters are refused. Sets of codes are open: more may come."
 }"#;
const SECURITY: &str = r#"{"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}"#;
const PROBLEM: &str = "What was wrong, by `status` and `code`; with `Retry-After` if it may pass";

/// The document. Made when it is asked for: a service that starts has better things to do.
pub static DOCUMENT: LazyLock<String> = LazyLock::new(write);

fn write() -> String {
    let document = object([
        ("openapi", text("3.1.0")),
        ("info", json(INFO)),
        ("security", json(r#"[{"token": []}]"#)),
        ("paths", describe_paths()),
        ("components", describe_components()),
    ]);
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    let written = document.serialize(&mut serializer);
    written.expect("texts, objects and lists of them are JSON");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is text")
}

/// Each path once, with its calls.
fn describe_paths() -> Node {
    let mut paths: Vec<(&str, Vec<&Route>)> = Vec::new();
    for route in all() {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, calls)) => calls.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    let paths = paths.into_iter().map(|(path, calls)| {
        let names: Vec<Node> = calls[0].names().map(refer_to_parameter).collect();
        let in_path = (!names.is_empty()).then_some(("parameters".to_owned(), Node::List(names)));
        let calls = calls.into_iter().map(|route| {
            let method = route.method.as_str().to_ascii_lowercase();
            (method, describe_call(route))
        });
        let item = in_path.into_iter().chain(calls).collect();
        (path.to_owned(), Node::Object(item))
    });
    Node::Object(paths.collect())
}

fn describe_call(route: &Route) -> Node {
    let parameters = route.parameters.iter();
    let parameters = parameters.map(|one| refer_to_parameter(one.key));
    let mut call = vec![
        ("operationId", text(route.name)),
        ("summary", text(route.summary)),
        ("description", text(&say_who(route.need))),
    ];
    if route.need == Need::Nothing {
        call.push(("security", Node::List(Vec::new())));
    }
    if !route.parameters.is_empty() {
        call.push(("parameters", Node::List(parameters.collect())));
    }
    if let Some(body) = &route.body {
        call.push(("requestBody", describe_body(body)));
    }
    call.push(("responses", describe_answers(route.answers)));
    object(call)
}

/// The roles that may make a call.
fn say_who(need: Need) -> String {
    if need == Need::Nothing {
        return "Everybody".to_owned();
    }
    let roles = Role::ALL.into_iter().filter(|role| role.may(need));
    let names: Vec<&str> = roles.map(Role::name).collect();
    let what = match names.len() {
        1 => "Role",
        _ => "Roles",
    };
    format!("{what}: {}", names.join(", "))
}

fn describe_body(body: &Body) -> Node {
    let required = json(if body.optional { "false" } else { "true" });
    object([
        ("required", required),
        ("content", describe_content(&body.content)),
    ])
}

fn describe_answers(answers: &[Answer]) -> Node {
    let mut all = Vec::new();
    for answer in answers {
        let mut described = vec![("description", text(answer.description))];
        if !answer.headers.is_empty() {
            let headers = answer.headers.iter();
            let headers = headers.map(|one| (one.name, refer("headers", one.name)));
            described.push(("headers", object(headers)));
        }
        if let Some(content) = &answer.content {
            described.push(("content", describe_content(content)));
        }
        all.push((answer.status.to_string(), object(described)));
    }
    all.push(("default".to_owned(), refer("responses", "Problem")));
    Node::Object(all)
}

fn describe_content(content: &Content) -> Node {
    let schema = || object([("schema", refer("schemas", content.schema))]);
    object(content.kinds.iter().map(|kind| (*kind, schema())))
}

fn describe_components() -> Node {
    let problem = Content {
        kinds: &["application/problem+json"],
        schema: "Problem",
    };
    let problem = object([
        ("description", text(PROBLEM)),
        ("content", describe_content(&problem)),
    ]);
    object([
        ("schemas", gather_schemas()),
        ("parameters", gather_parameters()),
        (
            "headers",
            object([REVISION, ETAG].iter().map(describe_header)),
        ),
        ("responses", object([("Problem", problem)])),
        ("securitySchemes", json(SECURITY)),
    ])
}

fn gather_schemas() -> Node {
    let files = SCHEMAS.iter().map(|file| members(file));
    let schemas = files.flat_map(|members| members.expect("an object of schemas"));
    let schemas = schemas.map(|(name, schema)| {
        // They stand two levels deeper here than in their files.
        (name, json(&schema.get().replace('\n', "\n  ")))
    });
    Node::Object(schemas.collect())
}

/// Those of all calls, each once.
fn gather_parameters() -> Node {
    let mut gathered: Vec<&Parameter> = IN_PATHS.iter().collect();
    for one in all().flat_map(|route| route.parameters) {
        if !gathered.contains(&one) {
            gathered.push(one);
        }
    }
    object(gathered.into_iter().map(describe_parameter))
}

fn describe_parameter(one: &Parameter) -> (&'static str, Node) {
    let mut described = vec![("name", text(one.name)), ("in", text(one.place.name()))];
    if IN_PATHS.contains(one) {
        described.push(("required", json("true")));
    }
    described.push(("description", text(one.description)));
    described.push(("schema", json(one.schema)));
    described.push(("example", json(one.example)));
    (one.key, object(described))
}

fn describe_header(one: &Header) -> (&'static str, Node) {
    let described = [
        ("description", text(one.description)),
        ("schema", json(one.schema)),
        ("example", json(one.example)),
    ];
    (one.name, object(described))
}

fn refer_to_parameter(key: &str) -> Node {
    refer("parameters", key)
}

fn refer(kind: &str, name: &str) -> Node {
    json(&format!(r##"{{"$ref": "#/components/{kind}/{name}"}}"##))
}

/// A part of the document, its members in the order in which they should be read.
enum Node {
    Json(Box<RawValue>),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Json(text) => text.serialize(serializer),
            Node::List(items) => items.serialize(serializer),
            Node::Object(members) => {
                let mut object = serializer.serialize_map(Some(members.len()))?;
                for (name, member) in members {
                    object.serialize_entry(name, member)?;
                }
                object.end()
            }
        }
    }
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
    let members = members.into_iter();
    Node::Object(
        members
            .map(|(name, node)| (name.to_owned(), node))
            .collect(),
    )
}

/// A text of JSON, as it is.
fn json(text: &str) -> Node {
    Node::Json(RawValue::from_string(text.to_owned()).expect("a part of the document is JSON"))
}

fn text(text: &str) -> Node {
    Node::Json(serde_json::value::to_raw_value(text).expect("a text is JSON"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn gather_references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match (name.as_str(), member) {
                        ("$ref", Value::String(to)) => drop(found.insert(to.clone())),
                        _ => gather_references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|one| gather_references(one, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_part_is_referred_to() {
        let document: Value = serde_json::from_str(&DOCUMENT).expect("JSON");
        let mut found = BTreeSet::new();
        gather_references(&document, &mut found);
        let mut parts = BTreeSet::new();
        for kind in ["schemas", "parameters", "headers", "responses"] {
            let members = document["components"][kind].as_object().expect("an object");
            parts.extend(
                members
                    .keys()
                    .map(|name| format!("#/components/{kind}/{name}")),
            );
        }
        assert_eq!(found, parts);
    }

    #[test]
    fn no_two_parts_have_one_name() {
        let files = SCHEMAS.iter().map(|file| members(file).expect("an object"));
        let schemas: Vec<String> = files.flatten().map(|(name, _)| name).collect();
        let Node::Object(parameters) = gather_parameters() else {
            panic!("an object");
        };
        let names = all().map(|route| route.name.to_owned()).collect();
        let parameters = parameters.into_iter().map(|(name, _)| name).collect();
        for names in [schemas, parameters, names] {
            let distinct: BTreeSet<&String> = names.iter().collect();
            assert!(distinct.len() == names.len() && !distinct.contains(&String::new()));
        }
    }

    #[test]
    fn every_name_in_a_path_is_described() {
        for name in all().flat_map(Route::names) {
            assert!(IN_PATHS.iter().any(|one| one.name == name), "{name}");
        }
    }
}
