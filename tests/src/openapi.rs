//! Holds answers and examples against the OpenAPI document.

use jsonschema::Validator;
use serde_json::{Value, json};

/// The document of a server.
pub struct Document(pub Value);

impl Document {
    /// What of an answer does not fit: `call` is `GET /path` as the document has it.
    pub fn faults(&self, call: &str, status: u16, kind: &str, body: &Value) -> Vec<String> {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        assert!(responses.is_object(), "{call} is not documented");
        let response = responses.get(status.to_string());
        let mut response = response.unwrap_or(&responses["default"]);
        if let Some(at) = response["$ref"].as_str() {
            let target = self.0.pointer(at.trim_start_matches('#'));
            response = target.unwrap_or_else(|| panic!("{at} leads nowhere"));
        }
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match response["content"].get(kind) {
            Some(content) => list_faults(&self.validator(&content["schema"]), body),
            None => vec![format!("{call}: {status} has no {kind}")],
        }
    }

    /// Schemas, parameters and headers without an example, and examples that do not fit.
    pub fn faults_of_examples(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for kind in ["schemas", "parameters", "headers"] {
            let parts = self.0["components"][kind].as_object().expect("an object");
            for (name, part) in parts {
                let (schema, examples) = match kind {
                    "schemas" => (part, part["examples"].as_array().cloned()),
                    _ => (
                        &part["schema"],
                        part.get("example").map(|one| vec![one.clone()]),
                    ),
                };
                let examples = examples.unwrap_or_default();
                if examples.is_empty() {
                    faults.push(format!("{kind}/{name} has no example"));
                }
                let validator = self.validator(schema);
                for example in examples {
                    let its = list_faults(&validator, &example).into_iter();
                    faults.extend(its.map(|fault| format!("{kind}/{name}: {fault}")));
                }
            }
        }
        faults
    }

    /// Of a schema that refers to parts of the document.
    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [schema],
            "components": self.0["components"],
        });
        jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{error}: {schema}"))
    }
}

fn list_faults(validator: &Validator, value: &Value) -> Vec<String> {
    let errors = validator.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}
