//! Query parameters of a request. Not for which ones a call takes: its route says so (`api`).

use axum::http::Uri;

use super::problem::Problem;
use super::url::{DIGITS, Undecodable, decode};

/// Query parameters of a call.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Refuses names that the call does not know, and names given twice.
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Query, Problem> {
        if uri.query().is_none() {
            return Ok(Query(Vec::new()));
        }
        let bad = |detail: String| Problem::bad("invalid-parameter", detail);
        // The form decoder takes anything for something: two ids could become one.
        decode(uri.query().unwrap_or_default()).map_err(|why| {
            bad(match why {
                Undecodable::Digits => DIGITS.replace("{}", "query"),
                Undecodable::Utf8 => "the query is not UTF-8".to_owned(),
            })
        })?;
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|rejection| bad(rejection.body_text()))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(bad(format!(
                    "unknown query parameter {name:?}; this call takes {takes}"
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad(format!(
                    "query parameter {name} is given more than once"
                )));
            }
        }
        Ok(Query(pairs))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad(
                "invalid-parameter",
                format!("{name} must be true or false"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let read = |query: &str| {
            let uri: Uri = format!("/x?{query}").parse().expect("a URI");
            Query::read(&uri, &["limit", "cursor"]).map_err(|problem| problem.detail)
        };
        assert!(read("limit=5&cursor=%20x").is_ok_and(|query| query.get("cursor") == Some(" x")));
        assert!(read("Limit=5").expect_err("unknown").contains("\"Limit\""));
        for lossy in [
            "cursor=%ff",
            "cursor=%zz",
            "cursor=%",
            "limit=5&cursor=%f0%9d",
        ] {
            let why = read(lossy).expect_err(lossy);
            assert!(
                why.contains("UTF-8") || why.contains("hexadecimal"),
                "{why}"
            );
        }
        assert!(
            read("limit=5&limit=6")
                .expect_err("twice")
                .contains("limit")
        );
    }
}
