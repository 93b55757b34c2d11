//! `ordain component`: what is the file, or the running component, that holds the rules?

use axum::http::Method;
use clap::Subcommand;

use super::output::{self, Failure, cell};
use super::records::read_input;
use super::target::{Call, TargetArgs};
use crate::ordain::inspect_component;

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
            Some(file) => {
                let info = inspect_component(&read_input(file)?)
                    .map_err(|error| Failure::new(format!("{file}: {error}")))?;
                serde_json::to_vec(&info).map_err(Failure::new)?
            }
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
