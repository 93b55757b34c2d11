//! `ordain purge`: makes every instance drop what it has cached.

use axum::http::Method;

use super::output;
use super::reply::Failure;
use super::target::{Call, TargetArgs};

/// Make every instance drop what it has cached
///
/// Needed after a change that got past the triggers of the database, so that nobody was told of it:
/// by a superuser with session_replication_role = replica, or with triggers switched off. Ordinary
/// edits in psql, restarts and failovers need none. Costs one read of Postgres for each tenant that
/// is asked for afterwards.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  ordain purge --tenant acme --reason 'edited with triggers off'
  ordain purge")]
pub struct Purge {
    #[command(flatten)]
    target: TargetArgs,
    /// Only what is cached of this tenant [default: of all]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Goes into the change log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Purge {
    pub async fn run(&self, json: bool) -> Result<(), Failure> {
        let mut body = serde_json::Map::new();
        if let Some(tenant) = &self.tenant {
            body.insert("tenant".to_owned(), tenant.as_str().into());
        }
        let call = Call::new(Method::POST, "/v1/caches/purge")
            .reason(self.reason.as_ref())
            .body(serde_json::Value::from(body).to_string());
        let reply = self.target.open_records().await?.ask(call).await?;
        if json {
            return output::raw(&reply.body);
        }
        let what = self.tenant.as_deref().unwrap_or("all tenants");
        let revision = output::cell(&reply.json()?["revision"]);
        output::line(&format!("{what}: purged, revision {revision}"))
    }
}
