//! What the command line prints, and how it ends. Standard output has the answer and nothing else;
//! standard error has the rest. A reader that goes away is no error.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::reply::Failure;

/// Prints a failure; the exit code of the program.
pub fn ended(failure: Failure, json: bool) -> ExitCode {
    // Nothing can be done if standard error is closed as well.
    let _ = match failure {
        Failure::Unread => return ExitCode::SUCCESS,
        Failure::Said => Ok(()),
        Failure::Usage(message) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            return ExitCode::from(2);
        }
        Failure::Message(message) => writeln!(io::stderr(), "error: {message}"),
        Failure::Answer(reply) if json => match raw(&reply.body) {
            Ok(()) | Err(Failure::Unread) => Ok(()),
            Err(_) => writeln!(io::stderr(), "error: {}", reply.problem()),
        },
        Failure::Answer(reply) => writeln!(io::stderr(), "error: {}", reply.problem()),
    };
    ExitCode::FAILURE
}

/// Prints a line.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints JSON as it came, ended by a line break.
pub fn raw(body: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(body)?;
    if !body.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Says something beside the answer.
pub fn note(text: &str) {
    // A closed standard error must not stop the work.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints columns, as wide as their widest cell; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let row = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| {
            format!(
                "{cell}{}",
                " ".repeat(width.saturating_sub(cell.chars().count()))
            )
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut out = io::stdout().lock();
    if head.iter().any(|cell| !cell.is_empty()) {
        writeln!(out, "{}", row(&head))?;
    }
    for cells in rows {
        writeln!(out, "{}", row(cells))?;
    }
    Ok(out.flush()?)
}

/// A scalar of an answer as people read it; what is absent is empty.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Ids hold no control characters, but reasons typed by hand elsewhere may.
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}
