//! The table of configs, as an operator with psql meets it.

use super::Database;

/// What the table keeps, level by level.
const LEVELS: &str =
    "SELECT coalesce(tenant, '-'), coalesce(user_id, '-'), body FROM configs ORDER BY 1, 2";

#[tokio::test]
async fn a_missing_user_is_a_value_so_a_level_has_one_row() {
    let database = Database::migrated().await;
    for who in ["NULL, NULL", "'a', NULL", "'a', 'ann'", "'b', 'ann'"] {
        let insert = format!(
            "INSERT INTO configs (tenant, user_id, body) VALUES ({who}, '{{\"mergeMaxMessages\":5}}')"
        );
        database.sql(&insert);
        let error = database.refused(&insert);
        assert!(error.contains("configs_key"), "{who}: {error}");
        database.sql(&format!(
            "{insert} ON CONFLICT (coalesce(tenant, ''), coalesce(user_id, '')) \
             DO UPDATE SET body = replace(excluded.body, '5', '6')"
        ));
    }
    let six = r#"{"mergeMaxMessages":6}"#;
    let expected = ["-|-|", "a|-|", "a|ann|", "b|ann|"].map(|who| format!("{who}{six}"));
    assert_eq!(database.sql(LEVELS), expected.join("\n"));
}

#[tokio::test]
async fn an_edit_in_sql_is_logged_under_the_subject_of_its_level() {
    let database = Database::migrated().await;
    database.sql(
        "INSERT INTO configs (body) VALUES ('{\"pathCompressionThreshold\":0.5}'); \
         INSERT INTO configs (tenant, body) VALUES ('a', '{\"mergeCompressionStrategy\":\"none\"}'); \
         INSERT INTO configs VALUES ('a', 'x/y', '{\"autoCompactEnabled\":true}'); \
         UPDATE configs SET body = '{}' WHERE tenant IS NULL; \
         DELETE FROM configs WHERE user_id = 'x/y'",
    );
    let rows = database.sql(
        "SELECT coalesce(tenant, '-'), subject, op, coalesce(body, '-') FROM changes ORDER BY position",
    );
    assert_eq!(
        rows,
        "-|config|put|{\"pathCompressionThreshold\":0.5}\n\
         a|config|put|{\"mergeCompressionStrategy\":\"none\"}\n\
         a|config/x/y|put|{\"autoCompactEnabled\":true}\n\
         -|config|put|{}\n\
         a|config/x/y|delete|-"
    );
}

#[tokio::test]
async fn rows_that_are_no_levels_are_refused_with_the_name_of_the_rule() {
    let database = Database::migrated().await;
    let long = format!("'{}'", "x".repeat(257));
    for (tenant, user, rule) in [
        ("NULL", "'ann'", "configs_user_has_tenant"),
        ("''", "NULL", "configs_tenant_is_id"),
        ("'..'", "NULL", "configs_tenant_is_id"),
        (&*long, "NULL", "configs_tenant_is_id"),
        ("'a'", "''", "configs_user_is_id"),
        ("'a'", "E'x\\ty'", "configs_user_is_id"),
    ] {
        let insert = format!("INSERT INTO configs VALUES ({tenant}, {user}, '{{}}')");
        let error = database.refused(&insert);
        assert!(error.contains(rule), "{tenant} {user}: {error}");
    }
    let size = format!(r#"{{"x":"{}"}}"#, "x".repeat(262_144));
    for (body, words) in [
        (&*size, "configs_body_size"),
        ("{", "is JSON, this is not"),
        ("[]", "is a JSON object, this is of type array"),
        ("null", "is a JSON object, this is of type null"),
        (
            r#"{"mergeMaxMessages":0}"#,
            "mergeMaxMessages of a config is an integer from 1",
        ),
        (
            r#"{"pathMaxMessages":-1}"#,
            "pathMaxMessages of a config is an integer from 1",
        ),
        (
            r#"{"pathMaxMessages":1.5}"#,
            "pathMaxMessages of a config is an integer from 1",
        ),
        (
            r#"{"pathMaxMessages":"1"}"#,
            "pathMaxMessages of a config is an integer from 1",
        ),
        (
            r#"{"pathSlidingWindowSize":9007199254740992}"#,
            "pathSlidingWindowSize of a config is an integer from 1 to 9007199254740991, not 9007199254740992",
        ),
        (
            r#"{"compactionIntervalMinutes":0}"#,
            "compactionIntervalMinutes of a config is an integer from 1",
        ),
        (
            r#"{"pathCompressionThreshold":1.01}"#,
            "pathCompressionThreshold of a config is a number from 0 to 1, not 1.01",
        ),
        (
            r#"{"pathCompressionThreshold":"NaN"}"#,
            "pathCompressionThreshold of a config is a number from 0 to 1",
        ),
        (
            r#"{"autoCompactEnabled":1}"#,
            "autoCompactEnabled of a config is true or false",
        ),
        (
            r#"{"mergePreservePinned":null}"#,
            "mergePreservePinned of a config is true or false",
        ),
        (
            r#"{"mergeCompressionStrategy":"extreme"}"#,
            "mergeCompressionStrategy of a config is none, minimal, moderate or aggressive",
        ),
        (
            r#"{"mergeMaxMessages":5,"new":1}"#,
            "new is no field of a config",
        ),
        (
            r#"{"mergeMaxMessages":1,"mergeMaxMessages":2}"#,
            "mergeMaxMessages of a config is there more than once",
        ),
        (r#"{"mergeMaxMessages":1e400000}"#, "is JSON, this is not"),
        (
            r#"{"mergeCompressionStrategy":"\u0000"}"#,
            "is JSON, this is not",
        ),
        (r#"{"\ud800":1}"#, "is JSON, this is not"),
        (
            r#"{"pathCompressionStrategy":"moderate"}"#,
            "pathCompressionStrategy of a config is none, sliding_window, semantic or hybrid",
        ),
    ] {
        let insert = format!("INSERT INTO configs (tenant, body) VALUES ('a', '{body}')");
        let error = database.refused(&insert);
        assert!(error.contains(words), "{words}: {error}");
    }
    let nothing = database.refused("INSERT INTO configs (tenant) VALUES ('a')");
    assert!(nothing.contains("not-null"), "{nothing}");
    let error = database.refused("TRUNCATE configs");
    assert!(error.contains("no host would notice"), "{error}");
    database.sql("INSERT INTO configs (tenant, body) VALUES ('a', '{}')");
    let error = database.refused("UPDATE configs SET user_id = 'ann'");
    assert!(error.contains("cannot change"), "{error}");
    assert_eq!(database.sql(LEVELS), "a|-|{}");
}
