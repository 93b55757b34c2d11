//! What an error of the driver or the server means for us. Not for what to do about it.

use sqlx::error::DatabaseError;

use crate::{OriginError, WriteError};

/// What 25006 means, to whoever has to do something about it.
const READ_ONLY: &str =
    "the database takes no changes: it is a replica, or default_transaction_read_only is on";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Driver(#[from] sqlx::Error),
    /// Of all hosts the answer of the last one that answered.
    #[error("{0}")]
    NotPrimary(&'static str),
    #[error("{0}")]
    Unsafe(String),
    #[error("no answer in time")]
    Late,
}

impl ConnectError {
    /// There is no free connection, while the server and others' connections are in order.
    pub fn is_full(&self) -> bool {
        matches!(self, ConnectError::Driver(error) if is_full(error))
    }
}

/// Why there is no connection, as the origin says it.
pub fn of_connect(error: ConnectError) -> OriginError {
    match error {
        ConnectError::Driver(error) => of_origin(&error),
        ConnectError::NotPrimary(why) => OriginError::ReadOnly(why.to_owned()),
        ConnectError::Unsafe(why) => OriginError::Unavailable(why),
        ConnectError::Late => OriginError::Late,
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    code(error).is_some_and(|code| codes.contains(&code.as_str()))
}

/// The connection is of no more use, while another one may well be: it was cut, the server was
/// restarted, or what the connection had prepared is out of date.
pub fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(server) => server.code().is_some_and(|code| {
            code.starts_with("08")
                || [
                    "57P01", "57P02", "57P03", "57P05", "25P02", "25P03", "26000",
                ]
                .contains(&&*code)
                || (code == "0A000" && server.message().contains("cached plan"))
        }),
        _ => false,
    }
}

/// There is no free connection: of the role, the database, the server or a pooler. Poolers have no
/// code for it.
fn is_full(error: &sqlx::Error) -> bool {
    let Some(server) = error.as_database_error() else {
        return false;
    };
    let words = server.message().to_ascii_lowercase();
    has_code(error, &["53300", "53400"])
        || words.contains("no more connections allowed")
        || words.contains("max client")
}

/// The server is up, and not ready yet.
pub fn is_starting(error: &sqlx::Error) -> bool {
    has_code(error, &["57P03"])
}

/// A statement gave up waiting for a lock.
pub fn is_locked(error: &sqlx::Error) -> bool {
    has_code(error, &["55P03"])
}

/// The server, or this session of it, takes no changes.
pub fn is_read_only(error: &sqlx::Error) -> bool {
    has_code(error, &["25006"])
}

/// A statement ran into `statement_timeout`.
pub fn is_cancelled(error: &sqlx::Error) -> bool {
    has_code(error, &["57014"])
}

/// Deadlock or serialization failure: rolled back for certain, and worth another try (O4).
pub fn is_conflict(error: &sqlx::Error) -> bool {
    has_code(error, &["40001", "40P01"])
}

/// The server answered, and its answer is an error: a COMMIT did not happen. A dying server
/// (class 57P) does not count: it may have committed first.
pub fn is_answer(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| !code.starts_with("57P") && !code.starts_with("08"))
}

/// An error of a statement or a connection, in words for the log. None of them holds a password:
/// neither driver nor server repeat the URL, and the server never repeats a password.
pub fn of_origin(error: &sqlx::Error) -> OriginError {
    match error {
        // statement_timeout: the server noticed first.
        _ if is_cancelled(error) => OriginError::Late,
        _ if is_read_only(error) => OriginError::ReadOnly(READ_ONLY.to_owned()),
        sqlx::Error::Io(error) => OriginError::Unavailable(format!("no connection: {error}")),
        sqlx::Error::Database(server) => OriginError::Unavailable(words(&**server)),
        sqlx::Error::Configuration(_) => {
            OriginError::Unavailable("the connection is configured wrongly".to_owned())
        }
        other => OriginError::Unavailable(other.to_string()),
    }
}

/// An error of a statement of a write, before COMMIT was sent.
pub fn of_write(error: &sqlx::Error) -> WriteError {
    let Some(code) = code(error) else {
        return of_origin(error).into();
    };
    let refused = code.starts_with("22") || code.starts_with("23") || code.starts_with("54");
    match (error.as_database_error(), &*code) {
        // Lock timeout; and conflicts that outlasted all tries.
        (_, "55P03" | "40001" | "40P01") => WriteError::Busy,
        (Some(server), _) if refused => WriteError::Rejected(server.message().to_owned()),
        _ => of_origin(error).into(),
    }
}

pub fn words(server: &dyn DatabaseError) -> String {
    let hint = match server.code().as_deref() {
        _ if server.message().contains("statement pooling") => {
            "; the pooler has pool_mode = statement: use transaction, session or a direct connection"
        }
        // What SET ROLE says before the first migration: the role is not there, or not granted.
        Some("22023") if server.message().contains("\"ordain_") => "; run `ordain migrate`",
        Some("42501") if server.message().contains("\"ordain_service\"") => {
            "; GRANT ordain_service to the role that connects"
        }
        Some("42501") if server.message().contains("\"ordain_tenant\"") => {
            "; GRANT ordain_tenant TO ordain_service, or run `ordain migrate`"
        }
        Some("42P01") => "; run `ordain migrate`",
        _ => "",
    };
    format!(
        "{} ({}){hint}",
        server.message(),
        server.code().unwrap_or("no code".into())
    )
}
