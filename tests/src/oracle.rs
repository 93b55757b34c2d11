//! An independent and naive reading of the rules (DESIGN 4.1 to 4.4, 7.1) on plain JSON values. It
//! shares no code with the guest or the host, so an error would have to be made twice to hide.
//! Not fast, and blind to caching: it knows what to answer, not from where.

use serde_json::{Map, Value, json};

/// What the deployment configures.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base egress mode.
    pub base: &'static str,
    pub local_providers: Vec<&'static str>,
    /// Provider and model of tenants without a policy.
    pub default: Option<(&'static str, &'static str)>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            base: "enforce",
            local_providers: vec!["local"],
            default: None,
        }
    }
}

/// The answer to `request`, without `provenance` and without the words of a refusal.
pub fn expected(settings: &Settings, record: Option<&Value>, request: &Value) -> Value {
    let mut answer = Map::new();
    for echo in ["tenant", "user", "task"] {
        if let Some(value) = request.get(echo) {
            answer.insert(echo.into(), value.clone());
        }
    }
    let (requested, effective, level) = egress(settings, record, request);
    answer.insert(
        "egress".into(),
        json!({"requested": requested, "effective": effective}),
    );
    match route(settings, record, request) {
        Err(code) => {
            answer.insert("allow".into(), json!(false));
            answer.insert("refusal".into(), json!({ "code": code }));
        }
        Ok((fields, mut rules)) => {
            answer.insert("allow".into(), json!(true));
            answer.extend(fields);
            rules.insert("egress".into(), json!(level));
            answer.insert("rules".into(), Value::Object(rules));
        }
    }
    Value::Object(answer)
}

type Fields = Map<String, Value>;

/// DESIGN 4.2: the chosen fields and the rule of each, or the code of the refusal.
fn route(
    settings: &Settings,
    record: Option<&Value>,
    request: &Value,
) -> Result<(Fields, Fields), &'static str> {
    let (mut fields, mut rules) = (Map::new(), Map::new());
    let mut candidate: Option<&Value> = None;
    match record {
        None => {
            let (provider, model) = settings.default.ok_or("no-policy")?;
            fields.insert("provider".into(), json!(provider));
            fields.insert("model".into(), json!(model));
            rules.insert("provider".into(), json!("deployment"));
            rules.insert("model".into(), json!("deployment"));
        }
        Some(record) => {
            let remote = record
                .get("allowRemoteEgress")
                .is_none_or(|allowed| allowed == true);
            let may = |provider: &Value| {
                remote
                    || settings
                        .local_providers
                        .iter()
                        .any(|local| provider == local)
            };
            let tasks = record.get("tasks").and_then(Value::as_array);
            candidate = tasks.into_iter().flatten().find(|entry| {
                request.get("task") == Some(&entry["task"]) && may(&entry["provider"])
            });
            let (provider, model, rule) = match candidate {
                Some(entry) => (&entry["provider"], &entry["model"], "task"),
                None if may(&record["defaultProvider"]) => (
                    &record["defaultProvider"],
                    &record["defaultModel"],
                    "tenant",
                ),
                None => return Err("remote-egress-disabled"),
            };
            fields.insert("provider".into(), provider.clone());
            fields.insert("model".into(), model.clone());
            rules.insert("provider".into(), json!(rule));
            rules.insert("model".into(), json!(rule));
        }
    }
    for parameter in ["temperature", "maxTokens"] {
        let decided = candidate
            .and_then(|entry| Some((entry.get(parameter)?, "task")))
            .or_else(|| Some((request.get(parameter)?, "caller")));
        if let Some((value, rule)) = decided {
            fields.insert(parameter.into(), value.clone());
            rules.insert(parameter.into(), json!(rule));
        }
    }
    if let Some(model) = request.get("model") {
        fields.insert("model".into(), model.clone());
        rules.insert("model".into(), json!("caller"));
    }
    if let Some(allowed) = record.and_then(|record| record["allowedModels"].as_array()) {
        let name = format!("{}/{}", text(&fields["provider"]), text(&fields["model"]));
        let name: Vec<char> = name.chars().collect();
        let fits = |entry: &Value| glob(&text(entry).chars().collect::<Vec<_>>(), &name);
        if !allowed.iter().any(fits) {
            return Err("model-not-allowed");
        }
    }
    Ok((fields, rules))
}

/// DESIGN 4.3: requested mode, effective mode, level of the effective mode.
fn egress(
    settings: &Settings,
    record: Option<&Value>,
    request: &Value,
) -> (String, String, &'static str) {
    let user = match (record, request.get("user")) {
        (Some(record), Some(user)) => record["userPolicies"].get(text(user)),
        _ => None,
    };
    let flag = |holder: Option<&Value>| holder.and_then(|h| h.get("allowOffMode")?.as_bool());
    let tenant_may = flag(record).unwrap_or(false);
    let user_may = flag(user).unwrap_or(tenant_may);
    let mode = |holder: Option<&Value>| Some(text(holder?.get("egressMode")?).to_owned());
    let candidates = [
        (mode(record), "tenant", tenant_may),
        (mode(user), "user", user_may),
        (mode(Some(request)), "caller", user_may),
    ];
    let mut outcome = (settings.base.to_owned(), settings.base.to_owned(), "base");
    for (mode, level, off_permitted) in candidates {
        let Some(mode) = mode else { continue };
        if mode != "off" || off_permitted {
            outcome.1.clone_from(&mode);
            outcome.2 = level;
        }
        outcome.0 = mode;
    }
    outcome
}

/// Only `*` is special: any run of characters, `/` too.
fn glob(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skipped| glob(rest, &name[skipped..])),
        Some((first, rest)) => name.first() == Some(first) && glob(rest, &name[1..]),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The comparable part of an answer, after a check of the members that [`expected`] leaves out.
/// `bound_ms` is the freshness bound.
pub fn comparable(answer: &Value, bound_ms: u64) -> Result<Value, String> {
    let mut answer = answer.as_object().ok_or("no object")?.clone();
    let provenance = answer.remove("provenance").ok_or("no provenance")?;
    check_provenance(&provenance, bound_ms)?;
    if let Some(refusal) = answer.get_mut("refusal").and_then(Value::as_object_mut) {
        let message = refusal.remove("message");
        if message
            .as_ref()
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            return Err(format!("a refusal without words: {message:?}"));
        }
    }
    Ok(numbers_as_floats(&Value::Object(answer)))
}

/// The same answer with every number as a float, so that 1 and 1.0 compare as equal.
pub fn numbers_as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_as_floats).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(k, v)| (k.clone(), numbers_as_floats(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn check_provenance(provenance: &Value, bound_ms: u64) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {provenance}"));
    let members = provenance
        .as_object()
        .map(|members| members.keys().collect::<Vec<_>>());
    let names = [
        "ageMs",
        "component",
        "revision",
        "settings",
        "stale",
        "tier",
    ];
    if members.is_none_or(|mut found| {
        found.sort();
        found != names
    }) {
        return wrong("members of provenance");
    }
    let hex = |text: &str, length: usize| {
        text.len() == length && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    };
    if !matches!(text(&provenance["tier"]), "near" | "far" | "origin") {
        return wrong("tier");
    }
    if !(provenance["revision"].is_null() || provenance["revision"].as_u64().is_some_and(|r| r > 0))
    {
        return wrong("revision");
    }
    if provenance["stale"] != false {
        return wrong("stale");
    }
    if provenance["ageMs"]
        .as_u64()
        .is_none_or(|age| age > bound_ms)
    {
        return wrong("age");
    }
    if !text(&provenance["component"])
        .strip_prefix("sha256:")
        .is_some_and(|d| hex(d, 64))
    {
        return wrong("component");
    }
    if !hex(text(&provenance["settings"]), 8) {
        return wrong("settings");
    }
    Ok(())
}
