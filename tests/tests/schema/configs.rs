//! The table of configs, as an operator with psql meets it.

use super::Database;

/// What the table keeps, level by level.
const LEVELS: &str =
    "SELECT coalesce(tenant, '-'), coalesce(user_id, '-'), body FROM configs ORDER BY 1, 2";

#[tokio::test]
async fn a_missing_user_is_a_value_so_a_level_has_one_row() {
    let database = Database::migrated().await;
    for who in ["NULL, NULL", "'a', NULL", "'a', 'ann'", "'b', 'ann'"] {
        let insert =
            format!("INSERT INTO configs (tenant, user_id, merge_max_messages) VALUES ({who}, 5)");
        database.sql(&insert);
        let error = database.refused(&insert);
        assert!(error.contains("configs_key"), "{who}: {error}");
        database.sql(&format!(
            "{insert} ON CONFLICT (coalesce(tenant, ''), coalesce(user_id, '')) \
             DO UPDATE SET merge_max_messages = excluded.merge_max_messages + 1"
        ));
    }
    let five = r#"{"mergeMaxMessages":6}"#;
    let expected = ["-|-|", "a|-|", "a|ann|", "b|ann|"].map(|who| format!("{who}{five}"));
    assert_eq!(database.sql(LEVELS), expected.join("\n"));
}

#[tokio::test]
async fn an_edit_in_sql_is_logged_under_the_subject_of_its_level() {
    let database = Database::migrated().await;
    database.sql(
        "INSERT INTO configs (path_compression_threshold) VALUES (0.5); \
         INSERT INTO configs (tenant, merge_compression_strategy) VALUES ('a', 'none'); \
         INSERT INTO configs (tenant, user_id, auto_compact_enabled) VALUES ('a', 'x/y', true); \
         UPDATE configs SET path_compression_threshold = NULL WHERE tenant IS NULL; \
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
    for (columns, values, rule) in [
        ("user_id", "'ann'", "configs_user_has_tenant"),
        ("tenant", "''", "configs_tenant_is_id"),
        ("tenant", "'..'", "configs_tenant_is_id"),
        ("tenant", &*long, "configs_tenant_is_id"),
        ("tenant, user_id", "'a', ''", "configs_user_is_id"),
        ("tenant, user_id", "'a', E'x\\ty'", "configs_user_is_id"),
        ("merge_max_messages", "0", "configs_merge_max"),
        ("path_max_messages", "-1", "configs_path_max"),
        (
            "path_sliding_window_size",
            "9007199254740992",
            "configs_path_window",
        ),
        (
            "compaction_interval_minutes",
            "0",
            "configs_compaction_interval",
        ),
        (
            "path_compression_threshold",
            "1.01",
            "configs_path_threshold",
        ),
        (
            "path_compression_threshold",
            "'NaN'",
            "configs_path_threshold",
        ),
        (
            "merge_compression_strategy",
            "'extreme'",
            "configs_merge_strategy",
        ),
        (
            "path_compression_strategy",
            "'moderate'",
            "configs_path_strategy",
        ),
        ("body", "'{}'", "GENERATED ALWAYS|generated column"),
    ] {
        let error = database.refused(&format!(
            "INSERT INTO configs ({columns}) VALUES ({values})"
        ));
        assert!(
            rule.split('|').any(|words| error.contains(words)),
            "{columns} {values}: {error}"
        );
    }
    let error = database.refused("TRUNCATE configs");
    assert!(error.contains("no host would notice"), "{error}");
    database.sql("INSERT INTO configs (tenant) VALUES ('a')");
    let error = database.refused("UPDATE configs SET user_id = 'ann'");
    assert!(error.contains("cannot change"), "{error}");
    assert_eq!(database.sql(LEVELS), "a|-|{}");
}
