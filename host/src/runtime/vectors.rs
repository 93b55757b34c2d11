//! Decision vectors: records, requests and the answers that every component must give to them
//! (`wit/vectors.json`, and an operator's own). A component is asked on backends in memory, as a
//! tenant would ask it, before it may answer any. Not for whether stored records please it
//! (`ordain component check`).

mod configs;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use configs::{Levels, Patch};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::sandbox::Sandbox;
use super::{Check, Generation, GuestEngine, LoadError};
use crate::answer::ResolveError;
use crate::ids::Tenant;
use crate::ordain::InvalidRecord;
use crate::request::{self, Body, EgressMode};
use crate::shares::Whose;
use crate::utf8;

/// What every component must answer.
const BUILT_IN: &str = include_str!("../../../wit/vectors.json");
/// Differences that are reported.
const REPORTED_MAX: usize = 10;
/// For all vectors together.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    #[error("cannot read the decision vectors {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the decision vectors {} are not as they must be: {why}", path.display())]
    Broken { path: PathBuf, why: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For people.
    #[serde(default, rename = "about")]
    _about: String,
    vectors: Vec<Vector>,
    #[serde(default)]
    configs: Vec<Levels>,
    #[serde(default)]
    patches: Vec<Patch>,
}

/// One record or request, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// Names it in reports; one of the operator replaces a built-in one of the same name.
    name: String,
    #[serde(default)]
    settings: Settings,
    /// Absent: the tenant has none.
    policy: Option<Box<RawValue>>,
    /// Without `tenant`.
    request: Option<Box<RawValue>>,
    /// The answer without tenant, provenance and the message of a refusal; or `{"problem": code}`.
    answer: Option<Value>,
    /// Pointers of all faults of a policy that must be refused.
    faults: Option<Vec<String>>,
}

/// What a component is told of the deployment.
#[derive(Deserialize, Clone, Default, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    pub egress_mode: Option<EgressMode>,
    pub local_providers: Option<Vec<String>>,
    pub default_provider: Option<String>,
    pub default_model: Option<String>,
}

pub struct Vectors {
    decisions: Vec<Vector>,
    configs: Vec<Levels>,
    patches: Vec<Patch>,
}

impl Vectors {
    /// The built-in ones and those of a file.
    pub fn load(file: Option<&Path>) -> Result<Vectors, VectorsError> {
        let mut all = parse(BUILT_IN).map_err(|why| VectorsError::Broken {
            path: "wit/vectors.json".into(),
            why,
        })?;
        if let Some(path) = file {
            let path = path.to_owned();
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => return Err(VectorsError::Unreadable { path, source }),
            };
            let text = utf8::read(&bytes).map_err(|error| format!("it is {error}"));
            let own = text.and_then(parse);
            let own = own.map_err(|why| VectorsError::Broken { path, why })?;
            let names: HashSet<&str> = own.names().collect();
            all.vectors.retain(|vector| !names.contains(&*vector.name));
            all.configs.retain(|vector| !names.contains(&*vector.name));
            all.patches.retain(|vector| !names.contains(&*vector.name));
            all.vectors.extend(own.vectors);
            all.configs.extend(own.configs);
            all.patches.extend(own.patches);
        }
        Ok(Vectors {
            decisions: all.vectors,
            configs: all.configs,
            patches: all.patches,
        })
    }

    pub fn count(&self) -> usize {
        self.decisions.len() + self.configs.len() + self.patches.len()
    }

    /// Asks a component everything: the differences, in words, or that there was no time for it.
    pub async fn check(
        &self,
        engine: &GuestEngine,
        generation: &Generation,
    ) -> Result<(), LoadError> {
        let mut differences = Vec::new();
        let asked = tokio::time::timeout(DEADLINE, self.ask(engine, generation, &mut differences));
        let is_complete = asked.await.unwrap_or_else(|_| {
            let seconds = DEADLINE.as_secs();
            Err(format!(
                "not all decision vectors were answered within {seconds} s"
            ))
        });
        match (differences.is_empty(), is_complete) {
            (true, Ok(())) => Ok(()),
            (true, Err(why)) => Err(LoadError::Busy(why)),
            (false, _) => Err(LoadError::Vectors(differences)),
        }
    }

    async fn ask(
        &self,
        engine: &GuestEngine,
        generation: &Generation,
        differences: &mut Vec<String>,
    ) -> Result<(), String> {
        let mut sandboxes: Vec<(&Settings, Sandbox)> = Vec::new();
        for (number, vector) in self.decisions.iter().enumerate() {
            let settings = &vector.settings;
            let place = sandboxes.iter().position(|(of, _)| *of == settings);
            let place = match place {
                Some(place) => place,
                None => {
                    sandboxes.push((settings, Sandbox::start(engine, generation, settings).await));
                    sandboxes.len() - 1
                }
            };
            let asked = vector.ask(&sandboxes[place].1, number).await;
            if !noted(&vector.name, asked, differences)? {
                return Ok(());
            }
        }
        if !generation.has_configs() {
            return Ok(());
        }
        let sandbox = Sandbox::start(engine, generation, &Settings::default()).await;
        for (number, vector) in self.configs.iter().enumerate() {
            let asked = vector.ask(&sandbox, &tenant(number)?).await;
            if !noted(&vector.name, asked, differences)? {
                return Ok(());
            }
        }
        for vector in &self.patches {
            if !noted(&vector.name, vector.ask(&sandbox).await, differences)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Notes how a vector was answered; whether there is a point in asking more.
fn noted(
    name: &str,
    asked: Result<(), Difference>,
    differences: &mut Vec<String>,
) -> Result<bool, String> {
    match asked {
        Ok(()) => {}
        Err(Difference::Answer(why)) => differences.push(format!("`{name}`: {why}")),
        Err(Difference::Failure(why)) => {
            differences.push(format!("`{name}`: the component failed: {why}"));
            return Ok(false);
        }
        Err(Difference::Busy(why)) => return Err(format!("`{name}`: {why}")),
    }
    if differences.len() >= REPORTED_MAX {
        differences.push("and perhaps more".to_owned());
        return Ok(false);
    }
    Ok(true)
}

enum Difference {
    Answer(String),
    /// It will not do better with the next one.
    Failure(String),
    /// The machine had no time for it.
    Busy(String),
}

impl File {
    fn names(&self) -> impl Iterator<Item = &str> {
        let decisions = self.vectors.iter().map(|vector| &*vector.name);
        let configs = self.configs.iter().map(|vector| &*vector.name);
        decisions
            .chain(configs)
            .chain(self.patches.iter().map(|vector| &*vector.name))
    }
}

fn parse(text: &str) -> Result<File, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut names = HashSet::new();
    if let Some(twice) = file.names().find(|name| !names.insert(*name)) {
        return Err(format!("two vectors are named `{twice}`"));
    }
    file.patches.iter().try_for_each(Patch::check)?;
    for vector in &file.vectors {
        let name = &vector.name;
        match (
            &vector.policy,
            &vector.request,
            &vector.answer,
            &vector.faults,
        ) {
            (_, Some(request), Some(_), None) => {
                vector.parsed(request, &tenant(0)?)?;
            }
            (Some(_), None, None, Some(_)) => {}
            _ => {
                return Err(format!(
                    "`{name}` must have either `request` and `answer` (and `policy`, if the tenant has \
                     one), or `policy` and `faults`"
                ));
            }
        }
    }
    Ok(file)
}

fn tenant(number: usize) -> Result<Tenant, String> {
    Tenant::new(&format!("vector-{number}")).map_err(|error| error.to_string())
}

impl Vector {
    fn parsed(&self, request: &RawValue, tenant: &Tenant) -> Result<request::Request, String> {
        let name = &self.name;
        match request::parse(request.get(), Some(tenant)) {
            Ok(Body::One(Ok(one))) => Ok(one.request),
            Ok(Body::One(Err(faulty))) => {
                let faults = faulty
                    .faults
                    .iter()
                    .map(|f| format!("{} {}", f.pointer, f.message));
                let faults = faults.collect::<Vec<_>>().join(", ");
                Err(format!("the request of `{name}`: {faults}"))
            }
            _ => Err(format!("the request of `{name}` must be an object")),
        }
    }

    async fn ask(&self, sandbox: &Sandbox, number: usize) -> Result<(), Difference> {
        let tenant = tenant(number).map_err(Difference::Answer)?;
        if let Some(policy) = &self.policy {
            let canonical = match (
                sandbox.check(Check::Policy(policy.get())).await,
                &self.faults,
            ) {
                (Ok(canonical), None) => canonical,
                (Ok(_), Some(faults)) => {
                    let faults = faults.join(", ");
                    return Err(Difference::Answer(format!(
                        "the policy is taken, and has faults at {faults}"
                    )));
                }
                (Err(InvalidRecord::Component(why)), _) => return Err(Difference::Failure(why)),
                (Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)), _) => {
                    return Err(Difference::Busy(why.to_string()));
                }
                (Err(InvalidRecord::Faults(found)), Some(expected)) => {
                    let found = found.into_iter().map(|fault| fault.pointer);
                    return same_faults(found.collect(), expected);
                }
                (Err(why), _) => {
                    return Err(Difference::Answer(format!("the policy is refused: {why}")));
                }
            };
            sandbox
                .put(&tenant, canonical)
                .await
                .map_err(Difference::Answer)?;
        }
        let (Some(request), Some(expected)) = (&self.request, &self.answer) else {
            return Ok(());
        };
        let request = self.parsed(request, &tenant).map_err(Difference::Answer)?;
        // First from the origin, then from near, then as a batch: the answer is the same.
        for way in ["read from the origin", "read from near"] {
            let answer = sandbox
                .runtime
                .resolve(Whose::Operator, &tenant, &request)
                .await;
            same(answer, expected, way)?;
        }
        let twice = [&request, &request];
        let answers = sandbox.runtime.resolve_batch(
            Whose::Operator,
            crate::coherence::Moment::now(),
            &tenant,
            &twice,
        );
        for answer in answers.await {
            same(answer, expected, "in a batch")?;
        }
        Ok(())
    }
}

fn same_faults(mut found: Vec<String>, expected: &[String]) -> Result<(), Difference> {
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    if found == expected {
        return Ok(());
    }
    Err(Difference::Answer(format!(
        "faults are reported at {}, and they are at {}",
        found.join(", "),
        expected.join(", ")
    )))
}

fn same(
    answer: Result<crate::answer::Answer, ResolveError>,
    expected: &Value,
    way: &str,
) -> Result<(), Difference> {
    let found = match answer {
        Ok(answer) => {
            let mut found = serde_json::to_value(&answer)
                .map_err(|error| Difference::Answer(error.to_string()))?;
            // What every vector and every wording may differ in.
            if let Some(members) = found.as_object_mut() {
                members.remove("tenant");
                members.remove("provenance");
            }
            if let Some(refusal) = found.get_mut("refusal").and_then(Value::as_object_mut) {
                refusal.remove("message");
            }
            found
        }
        Err(ResolveError::Component(why)) => return Err(Difference::Failure(why)),
        Err(error @ (ResolveError::Late | ResolveError::Overloaded)) => {
            return Err(Difference::Busy(error.to_string()));
        }
        Err(error) => serde_json::json!({"problem": code(&error)}),
    };
    match difference(&found, expected, "") {
        None => Ok(()),
        Some(why) => Err(Difference::Answer(format!("{way}: {why}"))),
    }
}

fn code(error: &ResolveError) -> &'static str {
    match error {
        ResolveError::RequestInvalid(_) => "request-invalid",
        ResolveError::RecordInvalid(_) => "record-invalid",
        ResolveError::RevisionUnknown => "revision-unknown",
        ResolveError::Unavailable => "unavailable",
        ResolveError::Late => "deadline",
        ResolveError::Overloaded => "overloaded",
        ResolveError::Component(_) => "component-failed",
        ResolveError::NotOffered => "not-offered",
    }
}

/// The first difference of two answers, with its pointer.
pub fn difference(found: &Value, expected: &Value, pointer: &str) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names: std::collections::BTreeSet<&String> =
                found.keys().chain(expected.keys()).collect();
            names.into_iter().find_map(|name| {
                let pointer = format!("{pointer}/{name}");
                match (found.get(name), expected.get(name)) {
                    (Some(found), Some(expected)) => difference(found, expected, &pointer),
                    (Some(found), None) => Some(format!("{pointer} is {found}, expected nothing")),
                    (None, Some(expected)) => {
                        Some(format!("{pointer} is absent, expected {expected}"))
                    }
                    (None, None) => None,
                }
            })
        }
        (found, expected) if found == expected => None,
        (found, expected) => Some(format!("{pointer} is {found}, expected {expected}")),
    }
}

/// Services of a sandbox are those of a deployment with these settings.
impl Settings {
    pub fn options(&self) -> crate::options::Options {
        let defaults = crate::options::Options::default();
        crate::options::Options {
            base_egress: self.egress_mode.unwrap_or(defaults.base_egress),
            local_providers: self
                .local_providers
                .clone()
                .unwrap_or(defaults.local_providers.clone()),
            deployment_default: self
                .default_provider
                .clone()
                .zip(self.default_model.clone()),
            near_bytes: 4 << 20,
            window: 1000,
            request_deadline: Duration::from_secs(5),
            ..defaults
        }
    }
}
