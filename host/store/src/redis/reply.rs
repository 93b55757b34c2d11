//! What Redis answers when it does not answer what was asked for. Not for redirections of a cluster
//! (`topology.rs`).

use redis::{ServerError, Value};

use crate::FarError;

/// A value, or nothing. What is of another type (`WRONGTYPE`) is not one of ours: a miss (A3), and
/// the put that follows replaces it.
pub fn value(reply: Value) -> Result<Option<Vec<u8>>, FarError> {
    match reply {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
        other => Err(refusal(&other)),
    }
}

/// It answers, and not what we want.
pub fn refusal(reply: &Value) -> FarError {
    FarError::Refused(match reply {
        Value::ServerError(error) if matches!(error.code(), "MOVED" | "ASK") => {
            "the server is a node of a cluster: redis+cluster:// is needed".to_owned()
        }
        Value::ServerError(error) => words(error),
        _ => "a reply of an unexpected type".to_owned(),
    })
}

/// As the server wrote it, without arguments that it repeats: they are values of ours.
pub fn words(error: &ServerError) -> String {
    let details = error.details().unwrap_or_default();
    let details = details.split(", with args beginning with").next();
    format!("{} {}", error.code(), details.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// Whether another connection may lead to a better answer: to the server that has taken over from
/// this one, which is a replica now, or with the login that this one lacks.
pub fn wants_another_connection(reply: &Value) -> bool {
    is_error(reply, &["READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS"])
}

/// Whether another node of a cluster may serve what this one refuses.
pub fn wants_another_node(reply: &Value) -> bool {
    is_error(reply, &["CLUSTERDOWN", "READONLY", "MASTERDOWN"])
}

fn is_error(reply: &Value, codes: &[&str]) -> bool {
    matches!(reply, Value::ServerError(error) if codes.contains(&error.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Value {
        redis::parse_redis_value(format!("{line}\r\n").as_bytes()).expect("a reply")
    }

    #[test]
    fn a_refusal_says_what_the_server_said() {
        for line in [
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "ERR unknown command 'EVAL'",
            "LOADING Redis is loading the dataset in memory",
            "WEIRD",
        ] {
            let error = value(reply(&format!("-{line}"))).expect_err(line);
            assert_eq!(error, FarError::Refused(line.to_owned()));
        }
        let args = reply("-ERR unknown command 'EVALSHA', with args beginning with: 's3cret' '1'");
        let expected = "ERR unknown command 'EVALSHA'".to_owned();
        assert_eq!(value(args), Err(FarError::Refused(expected)));
        let moved = value(reply("-MOVED 1 127.0.0.1:1")).expect_err("moved");
        assert!(moved.to_string().contains("redis+cluster://"), "{moved}");
        assert!(value(reply(":1")).is_err());
        assert_eq!(value(reply("-WRONGTYPE x")), Ok(None));
        assert_eq!(value(reply("$-1")), Ok(None));
        assert_eq!(value(reply("$1\r\nx")), Ok(Some(b"x".to_vec())));
    }

    #[test]
    fn a_replica_and_a_missing_login_want_another_connection() {
        for code in ["READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS"] {
            assert!(
                wants_another_connection(&reply(&format!("-{code} x"))),
                "{code}"
            );
        }
        for other in ["-OOM x", "-NOPERM x", "-ERR READONLY", "+READONLY"] {
            assert!(!wants_another_connection(&reply(other)), "{other}");
        }
    }
}
