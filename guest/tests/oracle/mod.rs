//! A second reading of DESIGN 4.1 to 4.3, as naive as possible: it works on the JSON of a record
//! and of a request and shares no code with the crate. Where the two differ, one of them is wrong.

use serde_json::{Map, Value, json};

/// The deployment's configuration, as the oracle wants it.
#[derive(Debug)]
pub struct Deployment {
    pub base: &'static str,
    pub local: Vec<String>,
    pub default: Option<(String, String)>,
}

/// 4.2 and 4.3: `{"allow", "provider", ..., "egress", "rules"}` or `{"allow": false, "code", ...}`.
pub fn decide(record: Option<&Value>, request: &Value, deployment: &Deployment) -> Value {
    let (requested, effective, rule) = egress(record, request, deployment.base);
    let mut answer = verdict(record, request, deployment);
    answer["egress"] = json!({ "requested": requested, "effective": effective, "rule": rule });
    answer
}

fn verdict(record: Option<&Value>, request: &Value, deployment: &Deployment) -> Value {
    let refuse = |code: &str| json!({ "allow": false, "code": code });
    let mut temperature = request.get("temperature").map(|v| (v.clone(), "caller"));
    let mut max_tokens = request.get("maxTokens").map(|v| (v.clone(), "caller"));
    let provider;
    let mut model;
    let rule;
    if let Some(record) = record {
        let remote_is_allowed = record.get("allowRemoteEgress") != Some(&json!(false));
        let is_fine = |provider: &Value| {
            remote_is_allowed
                || deployment
                    .local
                    .iter()
                    .any(|local| provider == &json!(local))
        };
        let mut chosen = None;
        for entry in record
            .get("tasks")
            .and_then(Value::as_array)
            .unwrap_or(&vec![])
        {
            let is_of_task =
                request.get("task").is_some() && entry.get("task") == request.get("task");
            if chosen.is_none() && is_of_task && is_fine(&entry["provider"]) {
                chosen = Some(entry.clone());
            }
        }
        if let Some(entry) = chosen {
            provider = entry["provider"].clone();
            model = entry["model"].clone();
            rule = "task";
            if let Some(value) = entry.get("temperature") {
                temperature = Some((value.clone(), "task"));
            }
            if let Some(value) = entry.get("maxTokens") {
                max_tokens = Some((value.clone(), "task"));
            }
        } else if is_fine(&record["defaultProvider"]) {
            provider = record["defaultProvider"].clone();
            model = record["defaultModel"].clone();
            rule = "tenant";
        } else {
            return refuse("remote-egress-disabled");
        }
    } else if let Some((default_provider, default_model)) = &deployment.default {
        provider = json!(default_provider);
        model = json!(default_model);
        rule = "deployment";
    } else {
        return refuse("no-policy");
    }
    let mut model_rule = rule;
    if let Some(named) = request.get("model") {
        model = named.clone();
        model_rule = "caller";
    }
    if let Some(allowed) = record.and_then(|record| record.get("allowedModels")) {
        let name: Vec<char> = format!(
            "{}/{}",
            provider.as_str().expect("text"),
            model.as_str().expect("text")
        )
        .chars()
        .collect();
        let matches = |glob: &Value| {
            let glob: Vec<char> = glob.as_str().expect("text").chars().collect();
            matches_by_table(&glob, &name)
        };
        if !allowed.as_array().expect("a list").iter().any(matches) {
            return refuse("model-not-allowed");
        }
    }
    let mut answer = json!({
        "allow": true, "provider": provider, "model": model,
        "rules": { "provider": rule, "model": model_rule },
    });
    if let Some((value, rule)) = temperature {
        answer["temperature"] = value.as_f64().into();
        answer["rules"]["temperature"] = rule.into();
    }
    if let Some((value, rule)) = max_tokens {
        answer["maxTokens"] = value;
        answer["rules"]["maxTokens"] = rule.into();
    }
    answer
}

/// Whether each prefix of the glob matches each prefix of the text: a table, nothing clever.
fn matches_by_table(glob: &[char], text: &[char]) -> bool {
    let mut table = vec![vec![false; text.len() + 1]; glob.len() + 1];
    table[0][0] = true;
    for g in 1..=glob.len() {
        for t in 0..=text.len() {
            table[g][t] = if glob[g - 1] == '*' {
                table[g - 1][t] || (t > 0 && table[g][t - 1])
            } else {
                t > 0 && table[g - 1][t - 1] && glob[g - 1] == text[t - 1]
            };
        }
    }
    table[glob.len()][text.len()]
}

/// 4.3: requested, effective and the level of the effective mode.
fn egress(record: Option<&Value>, request: &Value, base: &str) -> (String, String, &'static str) {
    let none = Value::Object(Map::new());
    let record = record.unwrap_or(&none);
    let user = match request.get("user") {
        Some(user) => record
            .get("userPolicies")
            .and_then(|all| all.get(user.as_str().expect("text"))),
        None => None,
    };
    let user = user.unwrap_or(&none);
    let tenant_permits = record.get("allowOffMode") == Some(&json!(true));
    let user_permits = match user.get("allowOffMode") {
        Some(value) => value == &json!(true),
        None => tenant_permits,
    };
    let candidates = [
        ("tenant", record.get("egressMode"), tenant_permits),
        ("user", user.get("egressMode"), user_permits),
        ("caller", request.get("egressMode"), user_permits),
    ];
    let (mut requested, mut effective, mut rule) = (base.to_owned(), base.to_owned(), "base");
    for (level, mode, permitted) in candidates {
        if let Some(mode) = mode {
            requested = mode.as_str().expect("text").to_owned();
            if requested != "off" || permitted {
                effective = requested.clone();
                rule = level;
            }
        }
    }
    (requested, effective, rule)
}

/// 4.1 and 7.1: the pointers of all faults of a record, sorted. Duplicate keys cannot be seen here.
pub fn faults(record: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(object) = record.as_object() else {
        return vec![String::new()];
    };
    for name in ["defaultProvider", "defaultModel"] {
        match object.get(name) {
            Some(value) if is_text(value, 256) => {}
            _ => found.push(format!("/{name}")),
        }
    }
    for (name, most) in [
        ("tasks", 1000),
        ("userPolicies", 10_000),
        ("allowedModels", 1000),
    ] {
        let count = match object.get(name) {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(users)) => users.len(),
            _ => 0,
        };
        if count > most {
            found.push(format!("/{name}"));
        }
    }
    for (name, value) in object {
        let at = format!("/{}", escape(name));
        match name.as_str() {
            "defaultProvider" | "defaultModel" => {}
            "allowRemoteEgress" | "allowOffMode" if value.is_boolean() => {}
            "egressMode" if is_mode(value) => {}
            "tasks" if value.is_array() => {
                for (index, entry) in value.as_array().expect("a list").iter().enumerate() {
                    task_faults(entry, &format!("{at}/{index}"), &mut found);
                }
            }
            "userPolicies" if value.is_object() => {
                for (user, entry) in value.as_object().expect("an object") {
                    let at = format!("{at}/{}", escape(user));
                    if user == "." || user == ".." || !is_text(&json!(user), 256) {
                        found.push(at.clone());
                    }
                    user_faults(entry, &at, &mut found);
                }
            }
            "allowedModels" if value.is_array() => {
                for (index, entry) in value.as_array().expect("a list").iter().enumerate() {
                    if !is_text(entry, 513) {
                        found.push(format!("{at}/{index}"));
                    }
                }
            }
            _ => found.push(at),
        }
    }
    found.sort();
    found
}

fn task_faults(entry: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = entry.as_object() else {
        found.push(at.to_owned());
        return;
    };
    for name in ["task", "provider", "model"] {
        if !object.get(name).is_some_and(|value| is_text(value, 256)) {
            found.push(format!("{at}/{name}"));
        }
    }
    for (name, value) in object {
        let is_fine = match name.as_str() {
            "task" | "provider" | "model" => true,
            "temperature" => value
                .as_f64()
                .is_some_and(|number| (0.0..=2.0).contains(&number)),
            "maxTokens" => value.as_f64().is_some_and(|number| {
                (1.0..9007199254740992.0).contains(&number) && number.trunc() == number
            }),
            _ => false,
        };
        if !is_fine {
            found.push(format!("{at}/{}", escape(name)));
        }
    }
}

fn user_faults(entry: &Value, at: &str, found: &mut Vec<String>) {
    let Some(object) = entry.as_object() else {
        found.push(at.to_owned());
        return;
    };
    for (name, value) in object {
        let is_fine = match name.as_str() {
            "egressMode" => is_mode(value),
            "allowOffMode" => value.is_boolean(),
            _ => false,
        };
        if !is_fine {
            found.push(format!("{at}/{}", escape(name)));
        }
    }
}

fn is_mode(value: &Value) -> bool {
    ["enforce", "report-only", "off"]
        .iter()
        .any(|mode| value == mode)
}

fn is_text(value: &Value, longest: usize) -> bool {
    value.as_str().is_some_and(|text| {
        let length = text.chars().count();
        let control = |c: char| matches!(u32::from(c), 0..=31 | 127..=159);
        length >= 1 && length <= longest && !text.chars().any(control)
    })
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
