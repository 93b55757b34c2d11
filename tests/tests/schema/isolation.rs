//! What the database itself keeps apart: rows of one tenant from the work of another, whatever a
//! statement asks for.

use std::sync::Arc;

use ordain_store::ids::{Key, Level, Tenant, User};
use ordain_store::postgres::{Postgres, PostgresOptions, SchemaName};
use ordain_store::{Attribution, Change, ChangeLog, Origin, Precondition};
use ordain_tests::services;

use super::{Database, GOOD};

/// Every way to see rows of a tenant that we could think of; each would return something, did it
/// see.
const LOOKS: [&str; 12] = [
    "SELECT tenant FROM ordain.policies",
    "SELECT tenant FROM ordain.policies WHERE tenant = 'a'",
    "SELECT body FROM ordain.policies p WHERE p.tenant IN (SELECT tenant FROM ordain.log)",
    "SELECT tenant FROM ordain.configs",
    "SELECT body FROM ordain.configs WHERE tenant = 'a' OR tenant IS NULL",
    "SELECT c.body FROM ordain.configs c JOIN ordain.policies p USING (tenant)",
    "SELECT body FROM ordain.changes WHERE tenant = 'a'",
    "SELECT actor FROM ordain.changes",
    "SELECT c.body FROM ordain.log l JOIN ordain.changes c USING (position)",
    "SELECT 'x' WHERE EXISTS (SELECT FROM ordain.policies WHERE tenant = 'a')",
    "WITH a AS (SELECT * FROM ordain.policies) SELECT body FROM a",
    "SELECT tenant FROM ordain.policies WHERE tenant = 'a' FOR UPDATE",
];

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).expect("a proper id")
}

/// A database with rows of two tenants and of the fleet.
async fn filled() -> (Database, Arc<Postgres>) {
    let database = Database::migrated().await;
    let origin = database.origin();
    fill(&*origin).await;
    (database, origin)
}

async fn fill(origin: &dyn Origin) {
    let by = Attribution {
        actor: "somebody".to_owned(),
        ..Attribution::default()
    };
    for id in ["a", "b"] {
        let ann = User::new("ann").expect("a proper id");
        let config = r#"{"mergeMaxMessages":5}"#;
        for (key, body) in [
            (Key::policy(&tenant(id)), GOOD),
            (Key::config(&Level::Tenant(tenant(id))), config),
            (Key::config(&Level::User(tenant(id), ann)), config),
            (Key::config(&Level::Global), config),
        ] {
            let change = Change::Put(body.into());
            let written = origin.write(&key, change, Precondition::None, &by).await;
            written.expect("written");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_in_the_hosts_own_pool_sees_nothing_without_the_tenant_or_with_another() {
    let (_database, origin) = filled().await;
    for look in LOOKS {
        for stranger in [None, Some(""), Some("c"), Some("A"), Some("a "), Some("%")] {
            let seen = origin
                .seen_in_pool(stranger, look)
                .await
                .expect("an answer");
            // The global level is part of every tenant's config.
            let global = look.contains("configs") && !look.contains("JOIN");
            let allowed = usize::from(global && stranger.is_some_and(|id| !id.is_empty()));
            assert!(seen.len() <= allowed, "{look} as {stranger:?}: {seen:?}");
        }
        let own = origin
            .seen_in_pool(Some("a"), look)
            .await
            .expect("an answer");
        assert!(!own.is_empty(), "{look}: would show nothing to anybody");
        assert!(!own.contains(&"b".to_owned()), "{look}: {own:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_another_tenant_can_be_written_in_the_hosts_own_pool() {
    let (database, origin) = filled().await;
    let before = database.count();
    for (statement, changes_nothing) in [
        (
            "UPDATE ordain.policies SET body = body WHERE tenant = 'b' RETURNING tenant",
            true,
        ),
        (
            "DELETE FROM ordain.policies WHERE tenant = 'b' RETURNING tenant",
            true,
        ),
        (
            "DELETE FROM ordain.configs WHERE tenant IS DISTINCT FROM 'a' RETURNING tenant",
            true,
        ),
        (
            "UPDATE ordain.configs SET body = '{}' WHERE tenant IS NULL RETURNING tenant",
            true,
        ),
        (
            "INSERT INTO ordain.policies (tenant, body) SELECT 'c', body FROM ordain.policies",
            false,
        ),
        ("INSERT INTO ordain.configs (body) VALUES ('{}')", false),
        (
            "INSERT INTO ordain.configs VALUES ('b', 'bob', '{}')",
            false,
        ),
        ("UPDATE ordain.policies SET tenant = 'b'", false),
        ("SELECT ordain.log_purge('b')::text", false),
        (
            "SELECT pruned::text FROM ordain.log_prune(now(), 1, 1000)",
            false,
        ),
        ("UPDATE ordain.settings SET value = 'off'", false),
        ("DELETE FROM ordain.changes", false),
    ] {
        let outcome = origin.seen_in_pool(Some("a"), statement).await;
        match outcome {
            Ok(rows) => assert!(changes_nothing && rows.is_empty(), "{statement}: {rows:?}"),
            Err(why) => {
                let told = ["row-level security", "permission denied"];
                assert!(
                    told.iter().any(|words| why.contains(words)),
                    "{statement}: {why}"
                );
            }
        }
    }
    assert_eq!(database.count(), before);
}

/// Whatever plan the server makes: of few rows and of many, made for one call and kept for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tenant_is_read_on_connections_that_served_others_before() {
    let (database, origin) = filled().await;
    let check = async || {
        for round in 0..20 {
            for id in ["a", "b", "nobody"] {
                let there = id != "nobody";
                let one = origin.read(&[Key::policy(&tenant(id))]).await;
                let one = one.expect("the origin answers").records;
                assert_eq!(one[0].is_some(), there, "round {round}: {id}");
                let ann = User::new("ann").expect("a proper id");
                let keys = [
                    Key::config(&Level::Global),
                    Key::config(&Level::Tenant(tenant(id))),
                    Key::config(&Level::User(tenant(id), ann)),
                    Key::policy(&tenant(id)),
                ];
                let several = origin
                    .read(&keys)
                    .await
                    .expect("the origin answers")
                    .records;
                let seen: Vec<bool> = several.iter().map(Option::is_some).collect();
                assert_eq!(seen, [true, there, there, there], "round {round}: {id}");
                let history = origin.history(&keys[3], None, 5).await;
                let history = history.expect("the origin answers");
                assert_eq!(!history.items.is_empty(), there);
                let audit = origin.audit(&keys[2], 0).await.expect("the origin answers");
                assert_eq!(audit.record.is_some(), there);
            }
        }
    };
    check().await;
    database.sql(&format!(
        "INSERT INTO policies SELECT 't' || n, '{GOOD}' FROM generate_series(1, 5000) n; \
         INSERT INTO configs (tenant, user_id, body) \
         SELECT 't' || n % 50, 'u' || n, '{{}}' FROM generate_series(1, 5000) n; ANALYZE"
    ));
    check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_see_every_position_of_the_log_and_no_body() {
    let (database, origin) = filled().await;
    let (rows, whole) = origin.newest(100).await.expect("the log answers");
    assert!(whole);
    assert_eq!(rows.len().to_string(), database.count());
    let all = "SELECT position::text FROM ordain.log";
    let seen = origin.seen_in_pool(None, all).await.expect("an answer");
    assert_eq!(seen.len(), rows.len());
    for column in ["body", "actor", "request_id", "reason"] {
        let error = database.refused(&format!(
            "SET ROLE ordain_tenant; SELECT {column} FROM ordain.log"
        ));
        assert!(error.contains("does not exist"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_the_tables_sees_nothing_either_and_a_host_of_the_release_before_goes_on() {
    let server = services::Postgres::start();
    server.database();
    server.sql(
        "postgres",
        "CREATE ROLE keeper LOGIN CREATEROLE; CREATE ROLE host LOGIN; ALTER DATABASE test_0 OWNER TO keeper",
    );
    let keeper = server.url("keeper", "test_0");
    Postgres::migrate(&keeper, &SchemaName::default())
        .await
        .expect("migrated");
    // All that hosts were granted before there was a second role.
    server.sql("postgres", "GRANT ordain_service TO host");
    let origin = Postgres::connect(PostgresOptions::new(server.url("host", "test_0")));
    fill(&*origin.expect("a proper URL")).await;

    // Who migrates may be a member of the role that sees all; as the owner alone it sees nothing.
    // From release 16 on it is keeper who granted it to the others.
    server.sql(
        "postgres",
        "REVOKE ordain_service FROM keeper CASCADE; GRANT ordain_tenant TO ordain_service; \
         GRANT ordain_service TO host",
    );
    let as_owner = |sql: &str| server.sql("test_0", &format!("SET ROLE keeper; {sql}"));
    assert_eq!(as_owner("SELECT count(*) FROM policies"), "0");
    assert_eq!(as_owner("SELECT count(*) FROM configs"), "0");
    let own = "SET ordain.tenant = 'a'; SELECT count(*) FROM policies";
    assert_eq!(as_owner(own), "1");
    let forced = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
        WHERE relrowsecurity AND relforcerowsecurity";
    assert_eq!(server.sql("test_0", forced), "changes configs policies");

    // The table is given away, as scripts do: the feed says so instead of taking the log for empty,
    // and the next migration puts it right.
    server.sql("postgres", "CREATE ROLE other; GRANT other TO keeper");
    let give = "ALTER TABLE changes OWNER TO other; ALTER VIEW log OWNER TO other; \
        ALTER TABLE log_head OWNER TO other; GRANT SELECT ON log_head TO keeper, other";
    server.sql("test_0", give);
    let host = || {
        let origin = Postgres::connect(PostgresOptions::new(server.url("host", "test_0")));
        origin.expect("a proper URL")
    };
    let hidden = host()
        .newest(100)
        .await
        .expect_err("nothing is seen")
        .to_string();
    assert!(hidden.contains("cannot be seen"), "{hidden}");
    let hidden = host()
        .since(0, 100)
        .await
        .expect_err("nothing is seen")
        .to_string();
    assert!(hidden.contains("cannot be seen"), "{hidden}");
    Postgres::migrate(&server.url("postgres", "test_0"), &SchemaName::default())
        .await
        .expect("migrated");
    let (rows, _) = host().newest(100).await.expect("the log answers");
    assert_eq!(rows.len(), 8);
    server.sql(
        "test_0",
        "ALTER TABLE changes OWNER TO keeper; ALTER VIEW log OWNER TO keeper",
    );
    Postgres::migrate(&server.url("postgres", "test_0"), &SchemaName::default())
        .await
        .expect("migrated");

    let before = |sql: &str| server.sql("test_0", &format!("SET ROLE ordain_service; {sql}"));
    let read = "SELECT count(p.body) FROM (VALUES (1)) x LEFT JOIN policies p ON p.tenant = 'a'";
    assert_eq!(before(read), "1");
    let write =
        "UPDATE policies SET body = body WHERE tenant = 'b'; SELECT count(body) FROM changes";
    assert_eq!(before(write), "9");
}

/// A server whose tables belong to `keeper`, with rows of two tenants, and `host`, who may become
/// what hosts become and is nothing else.
async fn kept() -> services::Postgres {
    let server = services::Postgres::start();
    server.database();
    server.sql(
        "postgres",
        "CREATE ROLE keeper LOGIN CREATEROLE; CREATE ROLE host LOGIN INHERIT; \
         ALTER DATABASE test_0 OWNER TO keeper",
    );
    let keeper = server.url("keeper", "test_0");
    Postgres::migrate(&keeper, &SchemaName::default())
        .await
        .expect("migrated");
    server.sql("postgres", "GRANT ordain_service TO host");
    fill(&*host(&server)).await;
    server
}

fn host(server: &services::Postgres) -> Arc<Postgres> {
    let mut options = PostgresOptions::new(server.url("host", "test_0"));
    options.deadline = std::time::Duration::from_secs(10);
    Postgres::connect(options).expect("a proper URL")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_become_the_role_for_all_tenants_has_to_become_it_to_see_them() {
    let server = kept().await;
    // Ways out of the role of one tenant, and none at all.
    for way in [
        "",
        "SET ROLE ordain_tenant;",
        "SET ROLE ordain_tenant; RESET ROLE;",
        "SET ROLE ordain_tenant; SET ROLE NONE;",
        "SET ROLE ordain_tenant; SELECT set_config('role', 'none', false) WHERE false;",
        "SET ROLE ordain_tenant; RESET ALL;",
        "SET ROLE ordain_tenant; SET SESSION AUTHORIZATION DEFAULT; SET SESSION AUTHORIZATION host;",
        "SET row_security = on;",
        "SET ROLE ordain_service; RESET ROLE;",
    ] {
        let said = |tenant: &str, look: &str| {
            let sql = format!(
                "SET SESSION AUTHORIZATION host; {way} SET ordain.tenant = '{tenant}'; {look}"
            );
            server.sql("test_0", &sql)
        };
        for look in LOOKS {
            let own = said("a", look);
            assert!(
                !own.is_empty(),
                "{way} {look}: would show nothing to anybody"
            );
            assert!(
                !own.contains('b') || look.contains("body") || look.contains("actor"),
                "{way} {look}: {own}"
            );
            let global = look.contains("configs") && !look.contains("JOIN");
            let strange = said("c", look);
            assert!(
                strange.lines().count() <= usize::from(global),
                "{way} {look}: {strange}"
            );
        }
        for (count, expected) in [
            ("SELECT count(*) FROM policies", "1"),
            ("SELECT count(*) FROM configs", "3"),
            ("SELECT count(DISTINCT tenant) FROM changes", "1"),
        ] {
            assert_eq!(said("a", count), expected, "{way} {count}");
        }
        let write = "UPDATE policies SET body = body WHERE tenant = 'b' RETURNING tenant";
        assert_eq!(said("a", write), "", "{way}");
    }
    for refused in [
        "SET row_security = off; SELECT * FROM policies",
        "ALTER TABLE policies DISABLE ROW LEVEL SECURITY",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "CREATE VIEW public.mine AS SELECT * FROM policies",
        "SELECT log_next()",
        "SET ROLE keeper",
        "SET ROLE ordain_tenant; SET ROLE keeper",
        "SET ROLE ordain_tenant; ALTER ROLE ordain_tenant BYPASSRLS",
        "SET ROLE ordain_tenant; GRANT ordain_service TO ordain_tenant",
        "SET ROLE ordain_tenant; SELECT log_purge('b')",
        "SET ROLE ordain_tenant; SELECT * FROM components",
        "SET ROLE ordain_tenant; COPY policies TO PROGRAM 'cat'",
    ] {
        let sql = format!("SET SESSION AUTHORIZATION host; {refused}");
        let told = server.try_sql("test_0", &sql);
        assert!(told.is_err(), "{refused}: {told:?}");
    }
    // What it is for.
    let all =
        "SET SESSION AUTHORIZATION host; SET ROLE ordain_service; SELECT count(*) FROM policies";
    assert_eq!(server.sql("test_0", all), "2");
    let (seen, _) = host(&server).newest(100).await.expect("the log answers");
    assert_eq!(seen.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_get_past_row_level_security_are_refused_by_all() {
    let server = kept().await;
    let keeper = server.url("keeper", "test_0");
    let reads = async || host(&server).read(&[Key::policy(&tenant("a"))]).await;
    reads().await.expect("all is well");
    for (spoil, mend, read_too) in [
        (
            "ALTER ROLE ordain_tenant BYPASSRLS",
            "ALTER ROLE ordain_tenant NOBYPASSRLS",
            true,
        ),
        (
            "ALTER ROLE ordain_tenant SUPERUSER",
            "ALTER ROLE ordain_tenant NOSUPERUSER",
            true,
        ),
        (
            "ALTER ROLE ordain_service BYPASSRLS",
            "ALTER ROLE ordain_service NOBYPASSRLS",
            false,
        ),
        (
            "ALTER ROLE ordain_service CREATEROLE",
            "ALTER ROLE ordain_service NOCREATEROLE",
            false,
        ),
        (
            "ALTER ROLE ordain_tenant REPLICATION",
            "ALTER ROLE ordain_tenant NOREPLICATION",
            false,
        ),
        (
            "CREATE ROLE boss CREATEROLE; GRANT boss TO ordain_tenant",
            "REVOKE boss FROM ordain_tenant",
            false,
        ),
        (
            "ALTER ROLE boss SUPERUSER NOCREATEROLE; GRANT boss TO ordain_tenant",
            "REVOKE boss FROM ordain_tenant",
            false,
        ),
    ] {
        server.sql("postgres", spoil);
        let origin = host(&server);
        let started = origin.schema_status().await.expect_err(spoil).to_string();
        let migrated = Postgres::migrate(&keeper, &SchemaName::default())
            .await
            .expect_err(spoil)
            .to_string();
        for error in [started, migrated] {
            let remedy = ["ALTER ROLE ordain_", "REVOKE "];
            let told =
                error.contains("row level security") && remedy.iter().any(|r| error.contains(r));
            assert!(told, "{spoil}: {error}");
        }
        if read_too {
            let error = reads().await.expect_err(spoil).to_string();
            assert!(error.contains("row level security"), "{spoil}: {error}");
        }
        server.sql("postgres", mend);
        origin.schema_status().await.expect(mend);
        reads().await.expect(mend);
    }
    Postgres::migrate(&keeper, &SchemaName::default())
        .await
        .expect("migrated");
}

/// Row level security keeps the planner from many an index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_and_no_list_goes_through_a_whole_table() {
    let server = kept().await;
    server.sql(
        "test_0",
        &format!(
            "INSERT INTO policies SELECT 't' || n, '{GOOD}' FROM generate_series(1, 20000) n; \
             INSERT INTO configs (tenant, user_id, body) \
             SELECT 't' || n % 50, 'u' || n, '{{}}' FROM generate_series(1, 20000) n; ANALYZE"
        ),
    );
    let scans = "SELECT string_agg(relname || ' ' || seq_scan, ' ' ORDER BY relname) \
         FROM pg_stat_user_tables WHERE relname IN ('policies', 'configs', 'changes')";
    let before = server.sql("test_0", scans);
    let origin = host(&server);
    let by = Attribution::default();
    for n in 1..=20 {
        let user = User::new(&format!("u{}", n * 50 + 7)).expect("a proper id");
        let own = Key::config(&Level::User(tenant("t7"), user));
        let keys = [
            Key::config(&Level::Global),
            Key::config(&Level::Tenant(tenant("t7"))),
            own.clone(),
            Key::policy(&tenant("t7")),
        ];
        let read = origin.read(&keys).await.expect("an answer").records;
        let seen: Vec<bool> = read.iter().map(Option::is_some).collect();
        assert_eq!(seen, [true, false, true, true]);
        origin.audit(&own, 0).await.expect("an answer");
        origin.history(&own, None, 5).await.expect("an answer");
        let change = Change::Put(r#"{"mergeMaxMessages":9}"#.into());
        let stored = Precondition::Revision(read[2].as_ref().expect("there").revision);
        origin
            .write(&own, change, stored, &by)
            .await
            .expect("written");
        let gone = origin.write(&own, Change::Delete, Precondition::None, &by);
        gone.await.expect("deleted");
        let page = origin.levels(None, 500).await.expect("an answer");
        let last = page.items.last().expect("one").0.clone();
        let next = origin.levels(Some(&last), 500).await.expect("an answer");
        assert!(next.items.iter().all(|(place, _)| *place > last));
        let tenants = origin.tenants(Some("t5"), 50).await.expect("an answer");
        assert_eq!(tenants.items.len(), 50);
    }
    // The figures are sent when a session ends.
    drop(origin);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'host'";
    let ended = || async {
        let left = server.sql("postgres", sessions);
        ordain_tests::wait::holds(left == "0", left)
    };
    ordain_tests::wait::eventually("sessions end", ordain_tests::wait::PATIENCE, ended).await;
    assert_eq!(server.sql("test_0", scans), before);
}
