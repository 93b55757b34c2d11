//! Settings, purge and prune as an operator with psql meets them.

use super::Database;

#[tokio::test]
async fn an_edit_of_settings_in_sql_is_logged_and_sets_its_own_revision() {
    let database = Database::migrated().await;
    database.sql("INSERT INTO settings VALUES ('cache.near', 'off', 7), ('bound', '2s', 7)");
    database.sql("INSERT INTO settings VALUES ('bound', '3s', 7) ON CONFLICT (name) DO UPDATE SET value = excluded.value");
    database.sql("UPDATE settings SET value = value, revision = 7 WHERE name = 'cache.near'");
    let agree = "SELECT bool_and(revision = (SELECT max(position) FROM changes c WHERE c.subject = 'setting/' || s.name)) FROM settings s";
    assert_eq!(database.sql(agree), "t");
    database.sql("DELETE FROM settings WHERE name = 'bound'");
    let rows = database
        .sql("SELECT tenant IS NULL, subject, op, actor, body FROM changes ORDER BY position");
    let expected = [
        "t|setting/cache.near|put|sql:postgres|off",
        "t|setting/bound|put|sql:postgres|2s",
        "t|setting/bound|put|sql:postgres|3s",
        "t|setting/cache.near|put|sql:postgres|off",
        "t|setting/bound|delete|sql:postgres|",
    ];
    assert_eq!(rows, expected.join("\n"));
    assert_eq!(
        database.sql("SELECT name, value FROM settings"),
        "cache.near|off"
    );
}

#[tokio::test]
async fn rows_that_are_no_settings_are_refused_with_words() {
    let database = Database::migrated().await;
    let long = "x".repeat(201);
    for (name, value, words) in [
        ("", "x", "settings_name_shape"),
        ("Bound", "x", "settings_name_shape"),
        ("a_b", "x", "settings_name_shape"),
        ("a\n", "x", "settings_name_shape"),
        (&long[..64], "x", "settings_name_shape"),
        ("bound", long.as_str(), "settings_value_size"),
        ("cache", "true", "settings_cache_on_or_off"),
        ("cache.near", "", "settings_cache_on_or_off"),
    ] {
        let error = database.refused(&format!(
            "INSERT INTO settings VALUES ('{name}', '{value}')"
        ));
        assert!(error.contains(words), "{name:?}: {error}");
    }
    database.sql("INSERT INTO settings VALUES ('bound', '1s')");
    let error = database.refused("UPDATE settings SET name = 'stale-limit'");
    assert!(
        error.contains("the name of a setting cannot change"),
        "{error}"
    );
    let error = database.refused("TRUNCATE settings");
    assert!(error.contains("cannot be truncated"), "{error}");
    assert_eq!(database.count(), "1");
}

#[tokio::test]
async fn the_service_can_purge_and_prune_but_neither_write_nor_delete_rows_of_the_log() {
    let database = Database::migrated().await;
    for tenant in ["a", "b", "c"] {
        database.insert(tenant);
    }
    let service = |sql: &str| format!("SET ROLE ordain_service; {sql}");
    database.sql(&service(
        "INSERT INTO settings (name, value) VALUES ('bound', '1s')",
    ));
    for sql in [
        "DELETE FROM changes",
        "SET ordain.prune_through = '9000000000000000'; DELETE FROM changes",
        "SELECT log_append(1, NULL, '*', 'purge', NULL)",
        "INSERT INTO settings VALUES ('stale-limit', '1m', 1)",
        "UPDATE settings SET revision = 1",
        "UPDATE settings SET name = 'stale-limit'",
        "TRUNCATE settings",
        "ALTER TABLE settings DISABLE TRIGGER ALL",
        "DROP TRIGGER settings_after ON settings",
        "DROP TABLE settings",
        "DROP FUNCTION log_prune",
        "CREATE OR REPLACE FUNCTION ordain.changes_stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    ] {
        let error = database.refused(&service(sql));
        let told = ["permission denied", "must be owner"];
        assert!(
            told.iter().any(|words| error.contains(words)),
            "{sql}: {error}"
        );
    }
    assert_eq!(database.count(), "4");

    let purged = database.sql(&service("SELECT log_purge('a') < log_purge(NULL)"));
    assert_eq!(purged, "t");
    for tenant in ["''", "'.'", "E'a\\tb'", "repeat('x', 257)"] {
        let error = database.refused(&service(&format!("SELECT log_purge({tenant})")));
        assert!(error.contains("no tenant"), "{error}");
    }
    let begin = "BEGIN; SET LOCAL ordain.actor = 'ann'; SET LOCAL ordain.request_id = 'r-1'; SET LOCAL ordain.reason = 'old'";
    let prune = "SELECT pruned FROM log_prune(now(), 2, 100)";
    assert_eq!(
        database.sql(&service(&format!("{begin}; {prune}; COMMIT"))),
        "4"
    );
    let rows = database.sql("SELECT tenant, subject, op, actor, request_id, reason, body LIKE '{\"rows\":4,\"through\":%}' FROM changes ORDER BY position");
    let expected = [
        "a|*|purge|sql:postgres|||",
        "|*|purge|sql:postgres|||",
        "|log|prune|ann|r-1|old|t",
    ];
    assert_eq!(rows, expected.join("\n"));
}

#[tokio::test]
async fn the_log_is_pruned_without_a_gap_and_in_measured_steps() {
    let database = Database::migrated().await;
    // As a primary writes whose clock was put back for a while: b is younger than c by its time.
    let past = "SET session_replication_role = replica; INSERT INTO changes (position, tenant, subject, op, body, actor, at)";
    for (position, tenant, age, body) in [
        (1, "a", "9 days", "NULL"),
        (2, "b", "1 day", "NULL"),
        (3, "c", "9 days", "NULL"),
        (
            4,
            "d",
            "9 days",
            "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)",
        ),
    ] {
        database.sql(&format!(
            "{past} VALUES ({position}, '{tenant}', 'policy', 'put', {body}, 'x', now() - interval '{age}')"
        ));
    }
    database.insert("e");
    let prune = |age: &str, most: u32| {
        database.sql(&format!(
            "SELECT pruned FROM log_prune(now() - interval '{age}', 1, {most})"
        ))
    };
    let left = || database.sql("SELECT string_agg(tenant, '' ORDER BY position) FROM changes");
    assert_eq!(
        (&*prune("5 days", 100), &*left()),
        ("1", "bcde"),
        "c stays as long as b"
    );
    assert_eq!(
        (&*prune("1 hour", 2), &*left()),
        ("2", "de"),
        "d is too much at once"
    );
    assert_eq!(
        (&*prune("1 hour", 2), &*left()),
        ("1", "e"),
        "but goes by itself"
    );
    assert_eq!(prune("1 hour", 2), "0");
    let records = "SELECT count(*) FROM changes WHERE op = 'prune'";
    assert_eq!(database.sql(records), "3");

    // By no other way, not even of the owner, unless he means it.
    for sql in [
        "DELETE FROM changes",
        "UPDATE changes SET body = NULL",
        "UPDATE changes SET op = 'prune' WHERE op = 'put'",
    ] {
        let error = database.refused(sql);
        assert!(error.contains("append-only"), "{error}");
    }
    let error = database.refused("BEGIN; SELECT log_prune(now(), 0, 1); DELETE FROM changes");
    assert!(
        error.contains("append-only"),
        "the right ends with the function: {error}"
    );
}

#[tokio::test]
async fn the_log_ends_with_words_before_positions_that_clients_cannot_tell_apart() {
    let database = Database::migrated().await;
    database.insert("a");
    let last = (1_i64 << 53) - (1 << 32);
    database.sql(&format!("UPDATE log_head SET position = {}", last - 1));
    database.insert("b");
    let newest = "SELECT max(position) FROM changes";
    assert_eq!(database.sql(newest), last.to_string());
    for sql in [
        "DELETE FROM policies WHERE tenant = 'a'",
        "SELECT log_purge(NULL)",
        "INSERT INTO settings VALUES ('cache', 'off')",
        "INSERT INTO configs (body) VALUES ('{}')",
    ] {
        let error = database.refused(sql);
        assert!(error.contains("no more positions"), "{sql}: {error}");
    }
    assert_eq!(database.sql(newest), last.to_string());
}
