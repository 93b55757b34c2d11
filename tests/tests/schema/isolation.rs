//! What the database itself keeps apart: rows of one tenant from the work of another, whatever a
//! statement asks for.

use std::sync::Arc;

use ordain::backends::postgres::{Postgres, PostgresOptions};
use ordain::backends::{Attribution, Change, ChangeLog, Origin, Precondition};
use ordain::ids::{Key, Level, Tenant, User};
use ordain_tests::services;

use super::{Database, GOOD};

/// Every way to see rows of a tenant that we could think of; each would return something, did it see.
const LOOKS: [&str; 12] = [
    "SELECT tenant FROM public.policies",
    "SELECT tenant FROM public.policies WHERE tenant = 'a'",
    "SELECT body FROM public.policies p WHERE p.tenant IN (SELECT tenant FROM public.log)",
    "SELECT tenant FROM public.configs",
    "SELECT body FROM public.configs WHERE tenant = 'a' OR tenant IS NULL",
    "SELECT c.body FROM public.configs c JOIN public.policies p USING (tenant)",
    "SELECT body FROM public.changes WHERE tenant = 'a'",
    "SELECT actor FROM public.changes",
    "SELECT c.body FROM public.log l JOIN public.changes c USING (position)",
    "SELECT 'x' WHERE EXISTS (SELECT FROM public.policies WHERE tenant = 'a')",
    "WITH a AS (SELECT * FROM public.policies) SELECT body FROM a",
    "SELECT tenant FROM public.policies WHERE tenant = 'a' FOR UPDATE",
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
            "UPDATE public.policies SET body = body WHERE tenant = 'b' RETURNING tenant",
            true,
        ),
        (
            "DELETE FROM public.policies WHERE tenant = 'b' RETURNING tenant",
            true,
        ),
        (
            "DELETE FROM public.configs WHERE tenant IS DISTINCT FROM 'a' RETURNING tenant",
            true,
        ),
        (
            "UPDATE public.configs SET merge_max_messages = 1 WHERE tenant IS NULL RETURNING tenant",
            true,
        ),
        (
            "INSERT INTO public.policies (tenant, body) SELECT 'c', body FROM public.policies",
            false,
        ),
        (
            "INSERT INTO public.configs (merge_max_messages) VALUES (1)",
            false,
        ),
        (
            "INSERT INTO public.configs (tenant, user_id) VALUES ('b', 'bob')",
            false,
        ),
        ("UPDATE public.policies SET tenant = 'b'", false),
        ("SELECT public.log_purge('b')::text", false),
        (
            "SELECT pruned::text FROM public.log_prune(now(), 1, 1000)",
            false,
        ),
        ("UPDATE public.settings SET value = 'off'", false),
        ("DELETE FROM public.changes", false),
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
         INSERT INTO configs (tenant, user_id, merge_max_messages) \
         SELECT 't' || n % 50, 'u' || n, n FROM generate_series(1, 5000) n; ANALYZE"
    ));
    check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_see_every_position_of_the_log_and_no_body() {
    let (database, origin) = filled().await;
    let (rows, whole) = origin.newest(100).await.expect("the log answers");
    assert!(whole);
    assert_eq!(rows.len().to_string(), database.count());
    let all = "SELECT position::text FROM public.log";
    let seen = origin.seen_in_pool(None, all).await.expect("an answer");
    assert_eq!(seen.len(), rows.len());
    for column in ["body", "actor", "request_id", "reason"] {
        let error = database.refused(&format!(
            "SET ROLE ordain_tenant; SELECT {column} FROM public.log"
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
    Postgres::migrate(&keeper).await.expect("migrated");
    // All that hosts were granted before there was a second role.
    server.sql("postgres", "GRANT ordain_service TO host");
    let origin = Postgres::connect(PostgresOptions::new(server.url("host", "test_0")));
    fill(&*origin.expect("a proper URL")).await;

    // Who migrates may be a member of the role that sees all; as the owner alone it sees nothing.
    server.sql("postgres", "REVOKE ordain_service FROM keeper");
    let as_owner = |sql: &str| server.sql("test_0", &format!("SET ROLE keeper; {sql}"));
    assert_eq!(as_owner("SELECT count(*) FROM policies"), "0");
    assert_eq!(as_owner("SELECT count(*) FROM configs"), "0");
    let own = "SET ordain.tenant = 'a'; SELECT count(*) FROM policies";
    assert_eq!(as_owner(own), "1");
    let forced = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
        WHERE relrowsecurity AND relforcerowsecurity";
    assert_eq!(server.sql("test_0", forced), "changes configs policies");

    // The table is given away, as scripts do: the feed says so instead of taking the log for empty, and the
    // next migration puts it right.
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
    Postgres::migrate(&server.url("postgres", "test_0"))
        .await
        .expect("migrated");
    let (rows, _) = host().newest(100).await.expect("the log answers");
    assert_eq!(rows.len(), 8);
    server.sql(
        "test_0",
        "ALTER TABLE changes OWNER TO keeper; ALTER VIEW log OWNER TO keeper",
    );
    Postgres::migrate(&server.url("postgres", "test_0"))
        .await
        .expect("migrated");

    let before = |sql: &str| server.sql("test_0", &format!("SET ROLE ordain_service; {sql}"));
    let read = "SELECT count(p.body) FROM (VALUES (1)) x LEFT JOIN policies p ON p.tenant = 'a'";
    assert_eq!(before(read), "1");
    let write =
        "UPDATE policies SET body = body WHERE tenant = 'b'; SELECT count(body) FROM changes";
    assert_eq!(before(write), "9");
}
