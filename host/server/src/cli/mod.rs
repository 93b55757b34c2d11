//! The command line (DESIGN section 7). Every command is one HTTP call, to a running server or to
//! the same routes in this process, so `--json` prints exactly what HTTP answers. Not for rules.

mod caches;
mod component;
mod config;
mod import;
mod logging;
mod output;
mod policy;
mod prune;
mod purge;
mod records;
mod reply;
mod resolve;
mod serve;
mod target;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, File, Reader, Sources, faulty, prepared};
use ordain_store::postgres::SchemaName;
use ordain_store::secret::SecretUrl;
use reply::Failure;

/// Which provider and model may serve this tenant, user and task
///
/// Ordain answers that before every LLM request of a multi-tenant product: by the tenant's policy,
/// the same on every instance, and with its caches or database down as long as an answer is fresh.
#[derive(Parser)]
#[command(name = "ordain", version, after_long_help = EXAMPLES)]
struct Cli {
    /// Print the JSON that the HTTP interface answers
    #[arg(long, global = true)]
    json: bool,

    /// What to log to standard error: error, warn, info, debug, or per module like
    /// info,ordain=debug
    #[arg(long, global = true, env = "ORDAIN_LOG", value_name = "FILTER")]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ordain serve --dev --load docs/demo-policies.jsonl
  ordain resolve --tenant acme --task chat
  ordain policy put acme policy.json --reason 'new model'
  ordain policy history acme --json
  ordain config get --tenant acme --user ann

Exit code: 0 done, 1 a refusal or a failure, 2 wrong usage.
Commands talk to --server, else to --database-url (no server needed), else to ORDAIN_SERVER, else to
DATABASE_URL, else to http://127.0.0.1:7171.";

#[derive(Subcommand)]
enum Command {
    /// Run the HTTP service
    Serve(Box<serve::Serve>),
    /// Ask which provider and model may answer
    Resolve(resolve::Resolve),
    /// Read and write policies
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Read and write configs of conversations
    #[command(subcommand)]
    Config(config::Config),
    /// Make every instance drop what it has cached
    Purge(purge::Purge),
    /// Keep the change log in bounds
    #[command(subcommand)]
    Log(prune::Log),
    /// Bring the database to the version of this program (serve does so too)
    Migrate(Migrate),
    /// Look at the component that holds the rules
    #[command(subcommand)]
    Component(component::Component),
    /// Show the caches and the feed, or change the switches
    Caches(caches::Caches),
    /// Make a token for development, signed with ORDAIN_JWT_HS256_SECRET or a private key
    Token(token::Token),
}

/// Bring the database to the version of this program (serve does so too)
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  ordain migrate --database-url postgres://owner@db/ordain"
)]
struct Migrate {
    /// Postgres as the role that owns the tables
    #[arg(long, env = "DATABASE_URL", value_name = "URL")]
    database_url: Option<SecretUrl>,

    /// Wins over DATABASE_URL, not over --database-url
    #[arg(long, env = "ORDAIN_MIGRATE_URL", value_name = "URL")]
    migrate_url: Option<SecretUrl>,

    /// Schema of the database that everything lies in; it is made if it is not there
    #[arg(
        long,
        env = "ORDAIN_SCHEMA",
        default_value = "ordain",
        value_name = "NAME"
    )]
    schema: SchemaName,
}

/// Runs the program.
pub fn main() -> ExitCode {
    if let Some(ended) = ordain::compile_apart() {
        return ended;
    }
    let mut command = prepared(Cli::command());
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) => {
            let faults = of_variables(&error);
            if !faults.is_empty() {
                return output::ended(Failure::Usage(faults.join("\n  ")), false);
            }
            if let Some(variable) = variable_of(&Cli::command(), &error) {
                output::note(&format!("{variable} is not set to what it must be:"));
            }
            masked(error).exit()
        }
    };
    let (matches, sources) = match with_file(matches) {
        Ok(matches) => matches,
        Err(error) => return output::ended(error, false),
    };
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match &mut cli.command {
        Command::Serve(serve) => serve.sources = sources,
        Command::Migrate(migrate) => migrate.settle(&matches),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return output::ended(Failure::new(format!("no threads: {error}")), cli.json),
    };
    let json = cli.json;
    let outcome = runtime.block_on(run(cli));
    // What still runs in the background has nobody to answer to.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::ended(failure, json),
    }
}

/// Parses `serve` again with the values of its file for defaults, and says where each value comes
/// from.
fn with_file(matches: clap::ArgMatches) -> Result<(clap::ArgMatches, Sources), Failure> {
    let Some(("serve", serve)) = matches.subcommand() else {
        return Ok((matches, Sources::default()));
    };
    let options = Config::augment_args(clap::Command::new("serve"));
    let named = serve.get_one::<PathBuf>("config_file");
    let file = File::load(named.map(PathBuf::as_path), &options, Reader::Service);
    let file = file.map_err(Failure::usage)?;
    let Some(file) = file else {
        let sources = Sources::new(&options, serve, None);
        return Ok((matches, sources));
    };
    let command = Cli::command().mut_subcommand("serve", |serve| file.as_defaults(serve));
    let mut command = prepared(command);
    let matches = command
        .try_get_matches_from_mut(std::env::args_os())
        .unwrap_or_else(|error| error.exit());
    let sources = match matches.subcommand() {
        Some((_, serve)) => Sources::new(&options, serve, Some(&file)),
        None => Sources::default(),
    };
    Ok((matches, sources))
}

/// What was typed in the wrong place may be a URL with a password: it is not repeated.
fn masked(mut error: clap::Error) -> clap::Error {
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
        ContextKind::InvalidSubcommand,
    ] {
        // Of a refused value the argument is what we call it, like <NAME=VALUE>, and was not typed.
        let ours = kind == ContextKind::InvalidArg
            && matches!(
                error.kind(),
                ErrorKind::ValueValidation | ErrorKind::InvalidValue
            );
        if !ours
            && let Some(ContextValue::String(text)) = error.get(kind)
            && text.contains(['@', ':', '='])
        {
            let shown = ordain_store::secret::masked_url(text);
            error.insert(kind, ContextValue::String(shown));
        }
    }
    error
}

/// All that is wrong with the variables of `serve`, if that is what the parser stumbled over.
fn of_variables(error: &clap::Error) -> Vec<String> {
    use clap::error::ErrorKind::{InvalidUtf8, InvalidValue, ValueValidation};
    let arguments: Vec<_> = std::env::args_os().collect();
    let is_value = matches!(error.kind(), InvalidUtf8 | InvalidValue | ValueValidation);
    if !is_value || !arguments.iter().any(|argument| argument == "serve") {
        return Vec::new();
    }
    let options = Config::augment_args(clap::Command::new("serve"));
    faulty(&options, &arguments)
}

/// The variable that a refused value came from: the parser names the flag only.
fn variable_of(command: &clap::Command, error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = shown.split_whitespace().next()?;
    let assigned = format!("{flag}=");
    if std::env::args_os().any(|text| {
        let text = text.to_string_lossy();
        text == flag || text.starts_with(&assigned)
    }) {
        return None;
    }
    std::iter::once(command)
        .chain(command.get_subcommands())
        .flat_map(clap::Command::get_arguments)
        .filter(|argument| argument.get_long() == flag.strip_prefix("--"))
        .find_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let default = if matches!(cli.command, Command::Serve(_)) {
        "info"
    } else {
        "warn"
    };
    logging::start(cli.log.as_deref().unwrap_or(default))?;
    match cli.command {
        Command::Serve(serve) => serve.run(cli.json).await,
        Command::Resolve(resolve) => resolve.run(cli.json).await,
        Command::Policy(policy) => policy.run(cli.json).await,
        Command::Config(config) => config.run(cli.json).await,
        Command::Purge(purge) => purge.run(cli.json).await,
        Command::Log(log) => log.run(cli.json).await,
        Command::Migrate(migrate) => migrate.run(cli.json).await,
        Command::Component(component) => component.run(cli.json).await,
        Command::Caches(caches) => caches.run(cli.json).await,
        Command::Token(token) => token.run(cli.json),
    }
}

impl Migrate {
    /// A flag wins over a variable, whichever of the two options it is: who names a database means
    /// that one.
    fn settle(&mut self, matches: &clap::ArgMatches) {
        let Some(("migrate", given)) = matches.subcommand() else {
            return;
        };
        let flag = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
        if flag("database_url") && !flag("migrate_url") {
            self.migrate_url = None;
        }
    }

    async fn run(&self, json: bool) -> Result<(), Failure> {
        let url = self.migrate_url.as_ref().or(self.database_url.as_ref());
        let url = url.ok_or_else(|| {
            Failure::Usage(
                "set --database-url or DATABASE_URL: which database to migrate".to_owned(),
            )
        })?;
        ordain_store::postgres::check_url(url.reveal()).map_err(Failure::usage)?;
        ordain::door::migrate(url.reveal(), &self.schema)
            .await
            .map_err(Failure::new)?;
        if json {
            return output::line(r#"{"migrated":true}"#);
        }
        output::line(&format!("migrated the schema {} of {url}", self.schema))
    }
}
