//! The schema by itself, as an operator with psql meets it (rules O1 to O3).

#[path = "schema/configs.rs"]
mod configs;
#[path = "schema/isolation.rs"]
mod isolation;
#[path = "schema/names.rs"]
mod names;
#[path = "schema/upkeep.rs"]
mod upkeep;

use std::time::Duration;

use ordain_store::postgres::{Postgres, PostgresOptions, SchemaError, SchemaName, SchemaStatus};
use ordain_store::{ChangeLog, Origin};
use ordain_tests::services;

const GOOD: &str = r#"{"defaultModel":"m","defaultProvider":"p"}"#;

struct Database {
    url: String,
    name: String,
}

impl Database {
    fn empty() -> Database {
        let url = services::Postgres::shared().database();
        let name = url.rsplit_once('/').map(|_| url.clone()).expect("a URL");
        let name = name
            .split("localhost/")
            .nth(1)
            .and_then(|rest| rest.split('?').next());
        Database {
            name: name.expect("a database").to_owned(),
            url,
        }
    }

    async fn migrated() -> Database {
        let database = Database::empty();
        Postgres::migrate(&database.url, &SchemaName::default())
            .await
            .expect("migrated");
        database
    }

    fn sql(&self, sql: &str) -> String {
        services::Postgres::shared().sql(&self.name, sql)
    }

    /// What psql says when it refuses.
    fn refused(&self, sql: &str) -> String {
        match services::Postgres::shared().try_sql(&self.name, sql) {
            Ok(output) => panic!("not refused: {sql}\n{output}"),
            Err(error) => error,
        }
    }

    fn insert(&self, tenant: &str) {
        self.sql(&format!(
            "INSERT INTO policies VALUES ('{tenant}', '{GOOD}')"
        ));
    }

    fn count(&self) -> String {
        self.sql("SELECT count(*) FROM changes")
    }

    fn origin(&self) -> std::sync::Arc<Postgres> {
        let mut options = PostgresOptions::new(self.url.clone());
        options.deadline = Duration::from_secs(10);
        options.feed_deadline = Duration::from_secs(5);
        Postgres::connect(options).expect("a proper URL")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_in_sql_is_logged_with_its_author_and_wakes_the_feed() {
    let database = Database::migrated().await;
    let origin = database.origin();
    while tokio::time::timeout(Duration::from_millis(300), origin.changed())
        .await
        .is_ok()
    {}
    database.insert("a");
    let woken = tokio::time::timeout(Duration::from_secs(5), origin.changed()).await;
    assert!(woken.is_ok(), "NOTIFY did not come");
    // An edit that changes nothing is a change: whoever reads the history sees that it happened.
    database.sql("UPDATE policies SET body = body, revision = 7 WHERE tenant = 'a'");
    database.sql("DELETE FROM policies WHERE tenant = 'a'");
    let rows = database.sql("SELECT tenant, subject, op, actor, body IS NULL, request_id, reason FROM changes ORDER BY position");
    let row = |op, empty| format!("a|policy|{op}|sql:postgres|{empty}||");
    assert_eq!(
        rows,
        [row("put", "f"), row("put", "f"), row("delete", "t")].join("\n")
    );
    let tenant = ordain_store::ids::Tenant::new("a").expect("a proper id");
    assert_eq!(
        origin
            .history(&ordain_store::ids::Key::policy(&tenant), None, 10)
            .await
            .expect("the origin answers")
            .items
            .len(),
        3
    );
}

#[tokio::test]
async fn an_upsert_is_logged_once_and_its_row_has_the_logged_position() {
    let database = Database::migrated().await;
    for _ in 0..2 {
        database.sql(&format!(
            "INSERT INTO policies VALUES ('a', '{GOOD}'), ('b', '{GOOD}') ON CONFLICT (tenant) DO UPDATE SET body = excluded.body"
        ));
    }
    assert_eq!(database.count(), "4");
    let agree = "SELECT bool_and(revision = (SELECT max(position) FROM changes c WHERE c.tenant = p.tenant)) FROM policies p";
    assert_eq!(database.sql(agree), "t");
}

#[tokio::test]
async fn a_rollback_leaves_no_row_and_takes_the_position_back() {
    let database = Database::migrated().await;
    database.insert("a");
    let head = "SELECT position FROM log_head";
    let newest = "SELECT max(position) FROM changes";
    let before = database.sql(newest);
    assert_eq!(database.sql(head), before);
    database.sql("BEGIN; UPDATE policies SET body = body; DELETE FROM policies; ROLLBACK");
    assert_eq!(database.sql(newest), before);
    assert_eq!(
        database.sql(head),
        before,
        "the head is the newest position again"
    );
    database.insert("b");
    let (before, after): (u64, u64) = (
        before.parse().expect("a number"),
        database.sql(newest).parse().expect("a number"),
    );
    assert!(after > before);
}

#[tokio::test]
async fn truncating_and_renaming_are_refused() {
    let database = Database::migrated().await;
    database.insert("a");
    for table in ["policies", "changes", "log_head"] {
        let error = database.refused(&format!("TRUNCATE {table}"));
        assert!(error.contains("cannot be truncated"), "{error}");
    }
    let error = database.refused("UPDATE policies SET tenant = 'b'");
    assert!(
        error.contains("the tenant of a policy cannot change"),
        "{error}"
    );
    for sql in [
        "UPDATE log_head SET position = 1",
        "DELETE FROM log_head",
        "UPDATE changes SET actor = 'somebody else'",
        "DELETE FROM changes",
        "INSERT INTO log_head VALUES (true, 1)",
        "INSERT INTO log_head VALUES (false, 1)",
    ] {
        database.refused(sql);
    }
    assert_eq!(database.count(), "1");
}

#[tokio::test]
async fn the_service_can_write_policies_and_nothing_else() {
    let database = Database::migrated().await;
    database.insert("a");
    let service = |sql: &str| format!("SET ROLE ordain_service; {sql}");
    for sql in [
        "INSERT INTO changes (position, subject, op, actor) VALUES (1, 'policy', 'put', 'x')",
        "UPDATE changes SET actor = 'x'",
        "DELETE FROM changes",
        "TRUNCATE changes",
        "UPDATE log_head SET position = position + 1",
        "UPDATE log_head SET one = true",
        "DELETE FROM log_head",
        "SELECT log_next()",
        "ALTER TABLE policies DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "DROP TRIGGER policies_after ON policies",
        "CREATE TABLE other ()",
        "CREATE FUNCTION public.other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION ordain.log_next() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
        "DROP TABLE policies",
        "ALTER TABLE policies DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON configs",
        "UPDATE _sqlx_migrations SET success = false",
    ] {
        let error = database.refused(&service(sql));
        let told = ["permission denied", "must be owner", "only grows"];
        assert!(
            told.iter().any(|words| error.contains(words)),
            "{sql}: {error}"
        );
    }
    database.sql(&service(&format!(
        "INSERT INTO policies VALUES ('b', '{GOOD}')"
    )));
    database.sql(&service(
        "SELECT position FROM log_head WHERE one FOR UPDATE",
    ));
    database.sql(&service("DELETE FROM policies WHERE tenant = 'a'"));
    assert_eq!(database.count(), "3");
}

#[tokio::test]
async fn rows_that_are_no_records_are_refused_with_words() {
    let database = Database::migrated().await;
    let long = format!("x{}", "0".repeat(256));
    let big = format!(
        r#"{{"defaultModel":"{}","defaultProvider":"p"}}"#,
        "m".repeat(262_144)
    );
    let with = |member: &str| format!(r#"{{"defaultModel":"m","defaultProvider":"p",{member}}}"#);
    let good = GOOD.to_owned();
    let cases: [(&str, String, &str); 22] = [
        ("", good.clone(), "policies_tenant_length"),
        (&long, good.clone(), "policies_tenant_length"),
        (".", good.clone(), "policies_tenant_no_dots"),
        ("..", good.clone(), "policies_tenant_no_dots"),
        ("a\tb", good.clone(), "policies_tenant_no_controls"),
        ("a\u{7f}", good.clone(), "policies_tenant_no_controls"),
        ("a\u{85}b", good.clone(), "policies_tenant_no_controls"),
        ("a", big, "policies_body_size"),
        ("a", String::new(), "is JSON"),
        ("a", "{".to_owned(), "is JSON"),
        ("a", "{'a':1}".replace('\'', "''"), "is JSON"),
        ("a", "[]".to_owned(), "is a JSON object"),
        ("a", "null".to_owned(), "is a JSON object"),
        ("a", "{}".to_owned(), "has a defaultProvider"),
        (
            "a",
            r#"{"defaultProvider":"p"}"#.to_owned(),
            "has a defaultProvider",
        ),
        (
            "a",
            r#"{"defaultModel":"m","defaultProvider":""}"#.to_owned(),
            "is not empty",
        ),
        (
            "a",
            r#"{"defaultModel":null,"defaultProvider":"p"}"#.to_owned(),
            "of type string, not null",
        ),
        (
            "a",
            r#"{"defaultModel":1,"defaultProvider":"p"}"#.to_owned(),
            "of type string, not number",
        ),
        (
            "a",
            with(r#""tasks":{}"#),
            "tasks of a policy is of type array",
        ),
        (
            "a",
            with(r#""userPolicies":[]"#),
            "userPolicies of a policy is of type object",
        ),
        (
            "a",
            with(r#""allowRemoteEgress":"yes""#),
            "allowRemoteEgress of a policy is of type boolean",
        ),
        (
            "a",
            with(r#""allowedModels":"*""#),
            "allowedModels of a policy is of type array",
        ),
    ];
    for (tenant, body, words) in cases {
        let error = database.refused(&format!(
            "INSERT INTO policies VALUES ('{tenant}', '{body}')"
        ));
        assert!(
            error.contains(words),
            "{tenant:?} {words}: {}",
            &error[..error.len().min(300)]
        );
    }
    assert_eq!(database.count(), "0");
    for tenant in ["a/b", "default", "...", "Ä 租户", &long[1..]] {
        database.insert(tenant);
    }
    let whole = with(
        r#""tasks":[],"userPolicies":{},"allowedModels":[],"allowOffMode":false,"egressMode":"off","allowRemoteEgress":true"#,
    );
    database.sql(&format!("INSERT INTO policies VALUES ('whole', '{whole}')"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_hosts_may_migrate_at_once_in_several_databases() {
    let databases = [Database::empty(), Database::empty()];
    let urls = databases.iter().flat_map(|database| [&database.url; 4]);
    let tasks: Vec<_> = urls
        .cloned()
        .map(|url| {
            tokio::spawn(async move { Postgres::migrate(&url, &SchemaName::default()).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("migrated");
    }
    for database in &databases {
        assert_eq!(database.sql("SELECT count(*) FROM log_head"), "1");
        assert_eq!(
            database.origin().schema_status().await.expect("known"),
            SchemaStatus::Current
        );
    }
}

#[tokio::test]
async fn the_state_of_the_schema_is_told() {
    let database = Database::empty();
    let origin = database.origin();
    assert_eq!(
        origin.schema_status().await.expect("known"),
        SchemaStatus::Missing
    );
    let error = origin
        .tenants(None, 1)
        .await
        .expect_err("there is no schema");
    assert!(error.to_string().contains("ordain migrate"), "{error}");
    Postgres::migrate(&database.url, &SchemaName::default())
        .await
        .expect("migrated");
    assert_eq!(
        origin.schema_status().await.expect("known"),
        SchemaStatus::Current
    );
    assert!(origin.tenants(None, 1).await.is_ok());

    database.sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, 'later', true, '', 0)");
    let ahead = origin.schema_status().await.expect("known");
    assert!(
        matches!(ahead, SchemaStatus::Ahead { database: 999, .. }),
        "{ahead:?}"
    );
    Postgres::migrate(&database.url, &SchemaName::default())
        .await
        .expect("an older host may start beside a newer one");

    database.sql("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 1");
    assert!(matches!(
        origin.schema_status().await,
        Err(SchemaError::Changed(1))
    ));
    assert!(matches!(
        Postgres::migrate(&database.url, &SchemaName::default()).await,
        Err(SchemaError::Changed(1))
    ));
}

#[tokio::test]
async fn an_ordinary_role_migrates_its_own_database_and_a_stranger_does_not() {
    let server = services::Postgres::start();
    let url = server.database();
    server.sql("postgres", "CREATE ROLE keeper LOGIN CREATEROLE; CREATE ROLE stranger LOGIN; ALTER DATABASE test_0 OWNER TO keeper");
    let error = Postgres::migrate(&server.url("stranger", "test_0"), &SchemaName::default())
        .await
        .expect_err("no privileges");
    assert!(
        matches!(&error, SchemaError::NoPrivileges(why) if !why.is_empty()),
        "{error}"
    );

    let keeper = server.url("keeper", "test_0");
    Postgres::migrate(&keeper, &SchemaName::default())
        .await
        .expect("migrated");
    let origin = Postgres::connect(PostgresOptions::new(keeper)).expect("a proper URL");
    origin.tenants(None, 1).await.expect("the service reads");
    assert_eq!(
        origin.schema_status().await.expect("known"),
        SchemaStatus::Current
    );
    let stranger = Postgres::connect(PostgresOptions::new(server.url("stranger", "test_0")))
        .expect("a proper URL");
    let error = stranger.tenants(None, 1).await.expect_err("not granted");
    assert!(
        error.to_string().contains("GRANT ordain_service"),
        "{error}"
    );

    server.kill();
    let error = Postgres::migrate(&url, &SchemaName::default())
        .await
        .expect_err("it is down");
    assert!(matches!(error, SchemaError::Unreachable(_)), "{error}");
}
