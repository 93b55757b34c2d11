//! `ordain component`: what is the file, or the running component, that holds the rules?

use std::collections::BTreeSet;

use axum::http::Method;
use clap::Subcommand;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component as Wasm;

use super::output::{self, Failure, cell};
use super::records::read_input;
use super::target::{Call, TargetArgs};
use crate::ordain::ComponentInfo;

/// What the exports of a component for Ordain include, and the world that they make.
const RESOLVER: &str = "ordain:policy/resolver@";
const WORLD: &str = "ordain:policy/policy@";

/// Look at the component that holds the rules
#[derive(Subcommand)]
pub enum Component {
    /// Print digest, size, imports and exports of the running component, or of a file
    #[command(after_long_help = "\
Examples:
  ordain component inspect                       what the server runs
  ordain component inspect ordain-policy.wasm    what is in a file; no server is needed")]
    Inspect {
        #[command(flatten)]
        target: TargetArgs,
        file: Option<String>,
    },
}

impl Component {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let Component::Inspect { target, file } = self;
        let body = match file {
            Some(file) => serde_json::to_vec(&inspect(file)?).map_err(Failure::new)?,
            None => {
                let call = Call::new(Method::GET, "/v1/component");
                target.open().await?.ask(call).await?.body.to_vec()
            }
        };
        if json {
            return output::raw(&body);
        }
        let info: serde_json::Value = serde_json::from_slice(&body)
            .map_err(|_| Failure::new("the server's answer is not JSON: is it Ordain?"))?;
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows: Vec<Vec<String>> = ["digest", "size", "world"]
            .iter()
            .map(|name| row(name, cell(&info[*name])))
            .collect();
        for (name, list) in [("import", "imports"), ("export", "exports")] {
            rows.extend(
                info[list]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|item| row(name, cell(item))),
            );
        }
        output::table(&["", ""], &rows)
    }
}

/// Reads a component without running any of it.
fn inspect(file: &str) -> Result<ComponentInfo, Failure> {
    let bytes = read_input(file)?;
    let engine = Engine::default();
    let component = Wasm::from_binary(&engine, &bytes).map_err(|error| {
        Failure::new(format!("{file} is no component that can run here: {error}"))
    })?;
    let kind = component.component_type();
    let imports: BTreeSet<String> = kind
        .imports(&engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let exports: BTreeSet<String> = kind
        .exports(&engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let version = exports.iter().find_map(|name| name.strip_prefix(RESOLVER));
    Ok(ComponentInfo {
        digest: format!("sha256:{:x}", Sha256::digest(&bytes)),
        size: bytes.len() as u64,
        world: version.map_or_else(
            || "unknown".to_owned(),
            |version| format!("{WORLD}{version}"),
        ),
        imports: imports.into_iter().collect(),
        exports: exports.into_iter().collect(),
    })
}
