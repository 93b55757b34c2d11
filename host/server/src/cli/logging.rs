//! The log: to standard error, readable on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::reply::Failure;

pub fn start(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::Usage(format!(
            "ORDAIN_LOG (--log) is not a log filter like info or ordain=debug: {error}"
        ))
    })?;
    // Warns of unknown parameters of a database URL with their values, a mistyped password's too.
    let silent = "sqlx_postgres::options=off";
    let filter = match silent.parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.with_target(false).finish().try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .finish()
            .try_init()
    };
    started.map_err(|error| Failure::new(format!("the log does not start: {error}")))
}
