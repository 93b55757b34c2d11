//! Backups restored as people restore them, and migrations beside what holds locks.

use std::time::{Duration, Instant};

use ordain_tests::app::{App, Builder};
use ordain_tests::cli::cli;
use ordain_tests::components::{component, digest, real};
use ordain_tests::http::history_path;
use ordain_tests::services::Postgres;
use ordain_tests::wait::{PATIENCE, eventually, holds};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::support::components::{push, report};
use crate::support::{model, plain, version};

/// A server with roles as in production: one owns the tables, another is the hosts'.
struct Production {
    server: Postgres,
}

const ROLES: &str = "CREATE ROLE keeper LOGIN CREATEROLE; CREATE ROLE host LOGIN";

impl Production {
    async fn start() -> Production {
        let server = Postgres::start();
        server.database();
        server.sql("postgres", ROLES);
        server.sql("postgres", "ALTER DATABASE test_0 OWNER TO keeper");
        let keeper = server.url("keeper", "test_0");
        cli(["migrate", "--database-url", &keeper]).await.expect(0);
        server.sql("postgres", "GRANT ordain_service TO host");
        Production { server }
    }

    async fn host(&self) -> App {
        let url = self.server.url("host", "test_0");
        patient(&url).start().await
    }
}

/// What is answered is in question here, not how fast a busy machine is.
fn patient(url: &str) -> Builder {
    App::builder()
        .postgres(url)
        .arg("--no-migrate")
        .env("ORDAIN_ORIGIN_DEADLINE", "3s")
        .env("ORDAIN_REQUEST_DEADLINE", "6s")
}

async fn history(app: &App) -> Value {
    let shown = app.get(&history_path("t")).await.expect(200).json;
    shown["items"].clone()
}

/// Writes of every kind.
async fn fill(app: &App) {
    app.store("t", &version(1)).await;
    app.store("t", &version(2)).await;
    for path in ["/v1/config", "/v1/tenants/t/users/ann/config"] {
        let patch = app
            .call("PATCH", path)
            .json(&json!({"mergeMaxMessages": 7}));
        patch.send().await.expect(200);
    }
    let switch = app.call("PATCH", "/v1/caches").json(&json!({"far": false}));
    switch.send().await.expect(200);
}

/// All that was there is there, and everything can be written.
async fn whole(app: &App, before: &Value) {
    assert_eq!(&history(app).await, before);
    let answer = app.resolve(&plain("t")).await.expect(200);
    assert_eq!(model(&answer.json), "m2");
    let config = app.get("/v1/tenants/t/config?user=ann").await.expect(200);
    assert_eq!(config.json["config"]["mergeMaxMessages"], 7);
    let revision = app.store("t", &version(3)).await;
    let newest = history(app).await[0].clone();
    assert_eq!(newest["revision"], revision);
    assert!(newest["revision"].as_u64() > before[0]["revision"].as_u64());
    fill(app).await;
    app.get("/v1/tenants").await.expect(200);
    let purged = app.post("/v1/caches/purge", &json!({})).await;
    assert!(matches!(purged.status, 200 | 204), "{purged:?}");
}

/// What decides who may do what, as the schema has it.
const RIGHTS: &str = "SELECT string_agg(x, E'\\n' ORDER BY x) FROM ( \
     SELECT relname::text || ' ' || relrowsecurity::text || relforcerowsecurity::text || ' ' \
         || coalesce((SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a \
             WHERE a::text LIKE 'ordain%' OR a::text LIKE '=%'), '') AS x \
         FROM pg_class WHERE relnamespace = 'ordain'::regnamespace AND relkind IN ('r', 'v') \
     UNION ALL SELECT attrelid::regclass::text || '.' || attname::text || ' ' || attacl::text \
         FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid IN \
             (SELECT oid FROM pg_class WHERE relnamespace = 'ordain'::regnamespace) \
     UNION ALL SELECT polrelid::regclass::text || ' ' || polname::text || ' ' || polcmd::text \
         || pg_get_expr(polqual, polrelid) || coalesce(pg_get_expr(polwithcheck, polrelid), '') \
         FROM pg_policy \
     UNION ALL SELECT proname::text || ' ' || prosecdef::text \
         || has_function_privilege('public', oid, 'EXECUTE')::text \
         || has_function_privilege('ordain_service', oid, 'EXECUTE')::text \
         FROM pg_proc WHERE pronamespace = 'ordain'::regnamespace) x";

fn rights(server: &Postgres, database: &str) -> String {
    // The owner gives them, whoever it is.
    let text = server.sql(database, RIGHTS);
    text.replace("/keeper", "/owner")
        .replace("/postgres", "/owner")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_whole_again_after_a_restore_in_every_common_way() {
    let production = Production::start().await;
    let app = production.host().await;
    fill(&app).await;
    let before = history(&app).await;
    let expected = rights(&production.server, "test_0");
    let roles = "CREATE ROLE ordain_service NOLOGIN; CREATE ROLE ordain_tenant NOLOGIN";
    for (options, first) in [
        // As documented: roles first.
        (&["-O", "-x"][..], roles),
        // Nothing but a fresh server.
        (&["-O", "-x"], ""),
        (&[], ""),
        (&["-O"], ""),
        (&["-x"], roles),
        // As an archive, with and without its owners and rights.
        (&["-Fc"], roles),
        (&["-Fc"], ""),
        (&["-Fc", "-O", "-x"], ""),
    ] {
        let dump = production.server.dump("test_0", options);
        let server = Postgres::start();
        server.sql("postgres", first);
        let url = server.database();
        let told = match options {
            ["-Fc", options @ ..] => server.restore_archive("test_0", &dump, options),
            _ => server.restore("test_0", &dump),
        };
        cli(["migrate", "--database-url", &url]).await.expect(0);
        let found = rights(&server, "test_0");
        assert_eq!(found, expected, "{options:?} {first:?}: psql said {told}");
        server.sql(
            "postgres",
            "CREATE ROLE host LOGIN; GRANT ordain_service TO host",
        );
        let host = Production { server };
        whole(&host.host().await, &before).await;
        // Once more changes nothing.
        cli(["migrate", "--database-url", &url]).await.expect(0);
        assert_eq!(rights(&host.server, "test_0"), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_migrate_may_not_put_right_is_named_with_the_statement_to_run() {
    let production = Production::start().await;
    let server = &production.server;
    let sql = |sql: &str| server.sql("test_0", sql);
    let migrate = async |user: &str| {
        let url = server.url(user, "test_0");
        cli(["migrate", "--database-url", &url]).await
    };
    sql(
        "REVOKE SELECT ON log FROM ordain_tenant; DROP POLICY all_tenants ON configs; \
         GRANT EXECUTE ON FUNCTION log_prune TO PUBLIC; GRANT ALL ON settings TO PUBLIC",
    );
    let refused = migrate("host").await.expect(1);
    for words in [
        "GRANT SELECT ON \"ordain\".log TO ordain_tenant",
        "CREATE POLICY all_tenants ON \"ordain\".configs",
        "REVOKE ALL ON FUNCTION ordain.log_prune",
        "REVOKE ALL ON \"ordain\".settings FROM PUBLIC",
        "belong to keeper",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    migrate("keeper").await.expect(0);
    migrate("host").await.expect(0);

    // Everything that is made here is given to somebody by the defaults of the database.
    sql(
        "CREATE ROLE web; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO web; \
         GRANT ALL ON settings, log, policies TO web",
    );
    migrate("postgres").await.expect(0);
    let web = "SELECT bool_or(has_table_privilege('web', t, 'SELECT, INSERT, UPDATE, DELETE')) \
               FROM unnest(ARRAY['settings', 'log', 'policies']) t";
    assert_eq!(sql(web), "f");

    // Roles, where somebody else has to make or grant them.
    let fresh = Postgres::start();
    fresh.database();
    fresh.sql(
        "postgres",
        "CREATE ROLE plain LOGIN; ALTER DATABASE test_0 OWNER TO plain",
    );
    let plain = fresh.url("plain", "test_0");
    for statement in [
        "CREATE ROLE ordain_service NOLOGIN; CREATE ROLE ordain_tenant NOLOGIN",
        "GRANT ordain_tenant TO ordain_service; GRANT ordain_service TO plain",
    ] {
        let refused = cli(["migrate", "--database-url", &plain]).await.expect(1);
        assert!(
            refused.stderr.contains(statement),
            "{statement}: {refused:?}"
        );
        fresh.sql("postgres", statement);
    }
    cli(["migrate", "--database-url", &plain]).await.expect(0);

    sql(
        "DROP TRIGGER policies_after ON policies; ALTER TABLE configs DISABLE TRIGGER configs_after",
    );
    let refused = migrate("postgres").await.expect(1);
    let words = "restored in part only, these are missing: trigger policies_after on policies";
    assert!(refused.stderr.contains(words), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everybody_may_read_by_default_is_given_to_those_who_need_it_and_to_nobody_else() {
    let production = Production::start().await;
    let server = &production.server;
    let dump = server.dump("test_0", &["-O", "-x"]);
    server.sql("postgres", "CREATE DATABASE open OWNER keeper");
    let defaults = "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC";
    server.sql("open", defaults);
    server.sql("open", "CREATE ROLE stranger");
    server.restore("open", &dump);
    let url = server.url("postgres", "open");
    cli(["migrate", "--database-url", &url]).await.expect(0);
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let app = App::builder().postgres(&url).arg("--no-migrate");
    let app = app.start().await;
    app.store("t", &version(1)).await;
    app.resolve(&plain("t")).await.expect(200);
    let stranger = "SELECT has_table_privilege('stranger', 'policies', 'SELECT')";
    assert_eq!(server.sql("open", stranger), "f");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_notices_that_its_database_was_restored_to_an_earlier_state() {
    let production = Production::start().await;
    let server = &production.server;
    let app = production.host().await;
    fill(&app).await;
    let dump = server.dump("test_0", &[]);
    let lost = app.store("t", &version(9)).await;
    let answer = app.resolve(&plain("t")).await.expect(200);
    assert_eq!(model(&answer.json), "m9");
    server.sql("postgres", "DROP DATABASE test_0 WITH (FORCE)");
    server.sql("postgres", "CREATE DATABASE test_0 OWNER keeper");
    server.restore("test_0", &dump);
    let url = server.url("keeper", "test_0");
    cli(["migrate", "--database-url", &url]).await.expect(0);
    let restored = || async {
        let reply = app.resolve(&plain("t")).await;
        let as_before = reply.status == 200 && reply.json["model"] == "m2";
        holds(
            as_before && reply.json["provenance"]["stale"] == false,
            format!("{reply:?}"),
        )
    };
    eventually("the state of the backup", PATIENCE, restored).await;
    let metrics = app.get("/metrics").await.expect(200).text;
    assert!(
        !metrics.contains("ordain_feed_purges_total{cause=\"history\"} 0"),
        "{metrics}"
    );
    let demanded = json!({"tenant": "t", "minRevision": lost});
    app.resolve(&demanded)
        .await
        .problem(409, "revision-unknown");
    app.store("t", &version(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_has_to_wait_for_a_backup_does_not_hold_up_running_instances() {
    let production = Production::start().await;
    let server = &production.server;
    server.sql(
        "test_0",
        "INSERT INTO policies SELECT 't' || n, '{\"defaultModel\":\"m1\",\"defaultProvider\":\"p\"}' \
         FROM generate_series(1, 20000) n",
    );
    let url = server.url("host", "test_0");
    let app = patient(&url).start().await;
    // What needs the whole table for itself to be put right.
    let spoil = "ALTER TABLE policies NO FORCE ROW LEVEL SECURITY";
    server.sql("test_0", spoil);
    let options: PgConnectOptions = server.url("postgres", "test_0").parse().expect("a URL");
    // As pg_dump does it.
    let mut backup = options
        .application_name("nightly backup")
        .options([("search_path", "ordain")])
        .connect()
        .await
        .expect("there");
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION READ ONLY; \
         LOCK TABLE policies, configs, changes IN ACCESS SHARE MODE";
    sqlx::raw_sql(hold)
        .execute(&mut backup)
        .await
        .expect("held");
    let keeper = server.url("keeper", "test_0");
    let migration = tokio::spawn(async move { cli(["migrate", "--database-url", &keeper]).await });
    let mut slow = Vec::new();
    let mut tenants = 1..=20_000;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        let tenant = format!("t{}", tenants.next().expect("enough tenants"));
        let asked = Instant::now();
        app.resolve(&plain(&tenant)).await.expect(200);
        slow.push(asked.elapsed());
    }
    slow.sort();
    let (p99, worst) = (slow[slow.len() * 99 / 100], slow[slow.len() - 1]);
    println!("{} cold reads: p99 {p99:?}, slowest {worst:?}", slow.len());
    assert!(p99 < Duration::from_millis(300), "{p99:?}");
    assert!(!migration.is_finished(), "it had nothing to wait for");
    sqlx::raw_sql("COMMIT")
        .execute(&mut backup)
        .await
        .expect("over");
    let ended = migration.await.expect("no panic").expect(0);
    for words in ["nightly backup", "pid ", "postgres"] {
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    backup.close().await.expect("closed");
    let forced = "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'policies'::regclass";
    assert_eq!(server.sql("test_0", forced), "t");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_another_digest_than_the_fleet_wants_never_run() {
    let production = Production::start().await;
    let server = &production.server;
    let app = production.host().await;
    let (good, other) = (component("none"), component("model:other"));
    for bytes in [&good, &other] {
        push(&app, bytes, "").await.expect(200);
    }
    // Somebody with the owner's rights.
    let swap = "ALTER TABLE components DROP CONSTRAINT components_named_by_content; \
         UPDATE components c SET bytes = o.bytes FROM components o WHERE c.digest = ";
    let named = format!("'{}' AND o.digest = '{}'", digest(&good), digest(&other));
    server.sql("test_0", &format!("{swap}{named}"));
    let fresh = production.host().await;
    let promote = fresh
        .post("/v1/component/promote", &json!({"digest": digest(&good)}))
        .await;
    let promote = promote.problem(422, "component-refused");
    assert!(promote.text.contains("other bytes are kept"), "{promote:?}");
    // Also where it was wanted before.
    let want = format!(
        "INSERT INTO settings (name, value) VALUES ('component.current', '{}')",
        digest(&good)
    );
    server.sql("test_0", &want);
    let late = production.host().await;
    let told = || async {
        let said = report(&late).await.to_string();
        holds(said.contains("other bytes are kept"), said)
    };
    eventually("it says why", PATIENCE, told).await;
    assert_eq!(report(&late).await["digest"], digest(&real()));
}
