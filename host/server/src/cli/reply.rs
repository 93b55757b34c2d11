//! How a call ended: what the service answered, or why there is no answer or none that a command
//! can use. Not for how that is printed (`output`).

use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

/// Why a command ends without success.
#[derive(Debug)]
pub enum Failure {
    /// For people.
    Message(String),
    /// An answer of the service that is no success.
    Answer(Box<Reply>),
    /// Everything has been said; the exit code says the rest (a refusal).
    Said,
    Usage(String),
    /// Nobody reads the output any more.
    Unread,
}

impl Failure {
    pub fn new(message: impl ToString) -> Failure {
        Failure::Message(message.to_string())
    }

    /// A configuration that cannot be used.
    pub fn usage(error: impl ToString) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::new(format!("writing the output failed: {error}")),
        }
    }
}

/// An answer of the service.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            Failure::new(format!(
                "the server's answer ({}) is not JSON: is it Ordain?",
                self.status
            ))
        })
    }

    /// A problem as people read it: what is wrong, then every fault on a line.
    pub fn problem(&self) -> String {
        let Ok(problem) = self.json() else {
            return format!(
                "the server answered {}, which is not from Ordain",
                self.status
            );
        };
        let mut text = match (problem["detail"].as_str(), problem["code"].as_str()) {
            (Some(detail), Some(code)) => format!("{detail} ({code})"),
            _ => format!("the server answered {}", self.status),
        };
        match self.status {
            StatusCode::UNAUTHORIZED => text.push_str(
                "\n  set ORDAIN_TOKEN or --token; `ordain token` makes a token for development",
            ),
            StatusCode::FORBIDDEN => text.push_str(
                "\n  the token is good, but not for this: ORDAIN_TOKEN or --token takes another, and \
                 `ordain token` makes one for development",
            ),
            _ => {}
        }
        let faults = problem["errors"].as_array();
        let faults = faults.map(Vec::as_slice).unwrap_or_default();
        if let [_] = faults {
            // The detail has it.
            return text;
        }
        for fault in faults {
            let pointer = fault["pointer"].as_str().unwrap_or_default();
            let message = fault["message"].as_str().unwrap_or_default();
            let place = if pointer.is_empty() {
                "(whole)"
            } else {
                pointer
            };
            let _ = write!(text, "\n  {place}: {message}");
        }
        text
    }
}
