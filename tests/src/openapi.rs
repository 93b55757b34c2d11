//! Holds answers against the OpenAPI document: the part of JSON Schema that it uses, no more. A
//! word that is not known here fails, so that nothing is taken for checked that is not.

use serde_json::{Map, Value};

/// The document of a server.
pub struct Document(pub Value);

/// Words that only tell people something.
const WORDS: [&str; 4] = ["description", "default", "format", "title"];

impl Document {
    /// What of an answer does not fit: `call` is `GET /path` as the document has it.
    pub fn faults(&self, call: &str, status: u16, kind: &str, body: &Value) -> Vec<String> {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        assert!(responses.is_object(), "{call} is not documented");
        let response = responses.get(status.to_string());
        let response = self.resolved(response.unwrap_or(&responses["default"]));
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some(content) = response["content"].get(kind) else {
            return vec![format!("{call}: {status} has no {kind}")];
        };
        let mut faults = Vec::new();
        self.check(&content["schema"], body, "", &mut faults);
        faults
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            None => schema,
            Some(at) => {
                let target = self.0.pointer(at.trim_start_matches('#'));
                self.resolved(target.unwrap_or_else(|| panic!("{at} leads nowhere")))
            }
        }
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = Vec::new();
        self.check(schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = self.resolved(schema).as_object().expect("a schema");
        let mut wrong = |what: String| faults.push(format!("{at}: {what}: {value}"));
        for (word, demand) in schema {
            match word.as_str() {
                "type" if !of_type(demand, value) => wrong(format!("is no {demand}")),
                "const" if demand != value => wrong(format!("is not {demand}")),
                "enum" if !list(demand).contains(value) => wrong(format!("is none of {demand}")),
                "minimum" if number(value) < number(demand) => wrong(format!("below {demand}")),
                "maximum" if number(value) > number(demand) => wrong(format!("above {demand}")),
                "minLength" if length(value) < number(demand) => wrong("is too short".to_owned()),
                "maxLength" if length(value) > number(demand) => wrong("is too long".to_owned()),
                "maxItems" if length(value) > number(demand) => wrong("is too long".to_owned()),
                "oneOf" | "anyOf" => {
                    let fitting = list(demand).iter().filter(|one| self.fits(one, value));
                    let count = fitting.count();
                    if count == 0 || (word == "oneOf" && count > 1) {
                        wrong(format!("fits {count} of {word}"));
                    }
                }
                "required" => {
                    for name in list(demand).iter().filter_map(Value::as_str) {
                        if value.get(name).is_none() {
                            wrong(format!("has no {name}"));
                        }
                    }
                }
                "type"
                | "const"
                | "enum"
                | "minimum"
                | "maximum"
                | "minLength"
                | "maxLength"
                | "maxItems"
                | "allOf"
                | "items"
                | "properties"
                | "additionalProperties" => {}
                known if WORDS.contains(&known) => {}
                unknown => panic!("{unknown} is not known here"),
            }
        }
        for part in schema.get("allOf").map(list).unwrap_or_default() {
            self.check(part, value, at, faults);
        }
        if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
            for (index, item) in list.iter().enumerate() {
                self.check(items, item, &format!("{at}/{index}"), faults);
            }
        }
        let (known, others) = (schema.get("properties"), schema.get("additionalProperties"));
        let none = Map::new();
        for (name, member) in value.as_object().unwrap_or(&none) {
            let at = format!("{at}/{name}");
            match (known.and_then(|known| known.get(name)), others) {
                (Some(schema), _) => self.check(schema, member, &at, faults),
                (None, Some(Value::Bool(false))) => faults.push(format!("{at} is not documented")),
                (None, Some(schema @ Value::Object(_))) => self.check(schema, member, &at, faults),
                _ => {}
            }
        }
    }
}

fn of_type(demand: &Value, value: &Value) -> bool {
    if let Some(several) = demand.as_array() {
        return several.iter().any(|one| of_type(one, value));
    }
    match demand.as_str().expect("a type") {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// Not a number: nothing is below or above it.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn length(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.chars().count() as f64,
        Value::Array(items) => items.len() as f64,
        _ => f64::NAN,
    }
}
