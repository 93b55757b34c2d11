//! Decision vectors: records, requests and the answers that every component must give to them
//! (`wit/vectors/`, a file for each capability, and an operator's own). A component is asked on backends in memory, as a
//! tenant would ask it, before it may answer any. Not for whether stored records please it
//! (`ordain component check`).

mod configs;
mod decisions;
mod difference;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use configs::{Levels, Patch};
use decisions::Vector;
use difference::Difference;
use serde::Deserialize;

use super::bytes::LoadError;
use super::engine::GuestEngine;
use super::generation::Generation;
use super::sandbox::{Sandbox, Settings};
use crate::world::Export;
use ordain_store::ids::Tenant;
use ordain_store::utf8;

/// What every component must answer that has the capability.
const BUILT_IN: [(&str, &str); 2] = [
    (
        "wit/vectors/policy.json",
        include_str!("../../../../wit/vectors/policy.json"),
    ),
    (
        "wit/vectors/config.json",
        include_str!("../../../../wit/vectors/config.json"),
    ),
];
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For people.
    #[serde(default, rename = "about")]
    _about: String,
    #[serde(default)]
    vectors: Vec<Vector>,
    #[serde(default)]
    configs: Vec<Levels>,
    #[serde(default)]
    patches: Vec<Patch>,
}

pub struct Vectors {
    decisions: Vec<Vector>,
    configs: Vec<Levels>,
    patches: Vec<Patch>,
}

impl Vectors {
    /// The built-in ones and those of a file.
    pub fn load(file: Option<&Path>) -> Result<Vectors, VectorsError> {
        let mut all = File::default();
        for (path, text) in BUILT_IN {
            let file = parse(text).map_err(|why| VectorsError::Broken {
                path: path.into(),
                why,
            })?;
            all.add(file);
        }
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
            drop(names);
            all.add(own);
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
        if generation.offers(Export::Resolve)
            && !self.ask_decisions(engine, generation, differences).await?
        {
            return Ok(());
        }
        if !generation.offers(Export::GetEffective) {
            return Ok(());
        }
        let sandbox = Sandbox::start(engine, generation, &Settings::default()).await;
        for (number, vector) in self.configs.iter().enumerate() {
            let asked = vector.ask(&sandbox, &tenant(number)?).await;
            if !note(&vector.name, asked, differences)? {
                return Ok(());
            }
        }
        for vector in &self.patches {
            if !note(&vector.name, vector.ask(&sandbox).await, differences)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether there is a point in asking more.
    async fn ask_decisions(
        &self,
        engine: &GuestEngine,
        generation: &Generation,
        differences: &mut Vec<String>,
    ) -> Result<bool, String> {
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
            let asked = vector.ask(&sandboxes[place].1, &tenant(number)?).await;
            if !note(&vector.name, asked, differences)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Notes how a vector was answered; whether there is a point in asking more.
fn note(
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

impl File {
    fn add(&mut self, other: File) {
        self.vectors.extend(other.vectors);
        self.configs.extend(other.configs);
        self.patches.extend(other.patches);
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let decisions = self.vectors.iter().map(|vector| &*vector.name);
        let configs = self.configs.iter().map(|vector| &*vector.name);
        decisions
            .chain(configs)
            .chain(self.patches.iter().map(|vector| &*vector.name))
    }
}

/// Of the vector of this number.
fn tenant(number: usize) -> Result<Tenant, String> {
    Tenant::new(&format!("vector-{number}")).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<File, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if file.names().next().is_none() {
        return Err("missing field `vectors`, `configs` or `patches`".to_owned());
    }
    let mut names = HashSet::new();
    if let Some(twice) = file.names().find(|name| !names.insert(*name)) {
        return Err(format!("two vectors are named `{twice}`"));
    }
    file.patches.iter().try_for_each(Patch::check)?;
    let tenant = tenant(0)?;
    let mut vectors = file.vectors.iter();
    vectors.try_for_each(|vector| vector.check(&tenant))?;
    Ok(file)
}
