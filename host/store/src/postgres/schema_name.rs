//! The name of the schema that everything lies in, and statements that speak of it: they are
//! written with `{schema}` in its place. All names are qualified, since a session may be a pooler's
//! and its search path anybody's. Not for what is in the schema.

use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

/// Longest name of anything in Postgres, in bytes.
const LIMIT: usize = 63;
/// The default: `public` is other people's.
const DEFAULT: &str = "ordain";

/// A schema of the database. Two deployments in one database have a schema each, and see nothing of
/// each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName(Arc<str>);

/// Why a text is no name of a schema; the message is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaNameError {
    #[error("the name of a schema has 1 to {LIMIT} characters, this one has {0}")]
    Length(usize),
    #[error(
        "the name of a schema is made of lower-case letters, digits and underscores and does not \
         begin with a digit: `{0}` is not"
    )]
    Characters(String),
    #[error("schemas whose names begin with `pg_`, and information_schema, are the server's own")]
    Reserved,
}

impl SchemaName {
    pub fn new(name: &str) -> Result<SchemaName, SchemaNameError> {
        if !(1..=LIMIT).contains(&name.len()) {
            return Err(SchemaNameError::Length(name.chars().count()));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(SchemaNameError::Characters(name.to_owned()));
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(SchemaNameError::Reserved);
        }
        Ok(SchemaName(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The statement with the name in its places: quoted where something of the schema is named,
    /// as it may be a word of the language, else as it is.
    pub(super) fn fill(&self, statement: &str) -> String {
        let qualifier = format!("\"{self}\".");
        let statement = statement.replace("{schema}.", &qualifier);
        statement.replace("{schema}", self.as_str())
    }

    pub(super) fn query<'q>(&self, statement: &str) -> Query<'q, Postgres, PgArguments> {
        // Safe: a constant and a name that needs no escaping.
        sqlx::query(AssertSqlSafe(self.fill(statement)))
    }
}

impl Default for SchemaName {
    fn default() -> SchemaName {
        SchemaName(DEFAULT.into())
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SchemaName {
    type Err = SchemaNameError;

    fn from_str(name: &str) -> Result<SchemaName, SchemaNameError> {
        SchemaName::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_no_quotes_are_taken_and_words_of_the_language_too() {
        for name in ["ordain", "a", "_", "user", "team_7", &"x".repeat(63)] {
            assert_eq!(SchemaName::new(name).expect(name).as_str(), name);
        }
        for name in [
            "",
            &"x".repeat(64),
            "Ordain",
            "7up",
            "a-b",
            "a.b",
            "a\"b",
            "ä",
            "a b",
        ] {
            assert!(SchemaName::new(name).is_err(), "{name}");
        }
        for name in ["pg_catalog", "pg_temp", "information_schema"] {
            assert_eq!(SchemaName::new(name), Err(SchemaNameError::Reserved));
        }
    }

    #[test]
    fn statements_name_the_schema_quoted_and_channels_as_it_is() {
        let schema = SchemaName::new("user").expect("a name");
        let filled = schema.fill("SELECT FROM {schema}.log, pg_notify('{schema}', '')");
        assert_eq!(filled, "SELECT FROM \"user\".log, pg_notify('user', '')");
    }
}
