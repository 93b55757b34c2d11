//! Where the schema lies: by what name, two of them in one database, and what a later release adds.

use std::time::Duration;

use ordain_store::ids::{Key, Tenant};
use ordain_store::postgres::{Postgres, PostgresOptions, SchemaError, SchemaName, SchemaStatus};
use ordain_store::{Attribution, Change, ChangeLog, Origin, Precondition};

use super::{Database, GOOD};

fn named(name: &str) -> SchemaName {
    SchemaName::new(name).expect("a proper name")
}

fn origin(database: &Database, schema: &SchemaName) -> std::sync::Arc<Postgres> {
    let mut options = PostgresOptions::new(database.url.clone());
    options.schema = schema.clone();
    options.deadline = Duration::from_secs(10);
    options.feed_deadline = Duration::from_secs(5);
    Postgres::connect(options).expect("a proper URL")
}

async fn put(origin: &Postgres, tenant: &str) -> u64 {
    let key = Key::policy(&Tenant::new(tenant).expect("a proper id"));
    let (change, by) = (Change::Put(GOOD.into()), Attribution::default());
    let written = origin.write(&key, change, Precondition::None, &by).await;
    written.expect("written").revision
}

async fn listed(origin: &Postgres) -> Vec<String> {
    let page = origin.tenants(None, 100).await.expect("a list");
    page.items.into_iter().map(|item| item.tenant).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_deployments_in_one_database_see_nothing_of_each_other_and_public_stays_empty() {
    let database = Database::empty();
    // One of them is called by a word of the language.
    let (one, two) = (SchemaName::default(), named("user"));
    for schema in [&one, &two] {
        let status = origin(&database, schema).schema_status().await;
        assert_eq!(status.expect("known"), SchemaStatus::Missing);
        for _ in 0..2 {
            let migrated = Postgres::migrate(&database.url, schema).await;
            migrated.expect("migrated");
        }
        let status = origin(&database, schema).schema_status().await;
        assert_eq!(status.expect("known"), SchemaStatus::Current);
    }
    let (first, second) = (origin(&database, &one), origin(&database, &two));
    // Listening takes a moment: what is there at its beginning wakes, too.
    let silent = |origin: std::sync::Arc<Postgres>| async move {
        let wait = || tokio::time::timeout(Duration::from_millis(300), origin.changed());
        while wait().await.is_ok() {}
    };
    tokio::join!(silent(first.clone()), silent(second.clone()));

    put(&first, "a").await;
    let woken = tokio::time::timeout(Duration::from_secs(5), first.changed()).await;
    assert!(woken.is_ok(), "NOTIFY did not come");
    let other = tokio::time::timeout(Duration::from_millis(300), second.changed()).await;
    assert!(other.is_err(), "woken by what another deployment wrote");
    put(&second, "b").await;
    let by = Attribution::default();
    first.purge(None, &by).await.expect("purged");

    assert_eq!(listed(&first).await, ["a"]);
    assert_eq!(listed(&second).await, ["b"]);
    let (rows, whole) = second.newest(10).await.expect("the log answers");
    assert!(whole);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let in_public = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(database.sql(in_public), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_make_a_schema_works_in_one_that_is_there_and_is_told_otherwise() {
    let database = Database::empty();
    database.sql("CREATE ROLE modest LOGIN; GRANT ordain_service TO modest WITH ADMIN OPTION");
    let url = database.url.replace("postgres@", "modest@");
    let schema = named("modest");
    let error = Postgres::migrate(&url, &schema).await.expect_err("refused");
    assert!(matches!(error, SchemaError::NoSchema(..)), "{error}");
    assert!(error.to_string().contains("CREATE SCHEMA"), "{error}");
    database.sql("CREATE SCHEMA modest AUTHORIZATION modest");
    Postgres::migrate(&url, &schema).await.expect("migrated");
    put(&origin(&database, &schema), "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_migration_runs_beside_hosts_of_this_release_or_changes_nothing() {
    let database = Database::migrated().await;
    let schema = SchemaName::default();
    let here = origin(&database, &schema);
    put(&here, "a").await;
    const BROKEN: &str = "ALTER TABLE {schema}.policies ADD COLUMN note text; SELECT nonsense";
    let failed = Postgres::migrate_further(&database.url, &schema, &[(100, BROKEN)]).await;
    let error = failed.expect_err("it fails").to_string();
    assert!(error.contains("nonsense"), "{error}");
    let columns = "SELECT count(*) FROM information_schema.columns \
         WHERE table_name = 'policies' AND column_name = 'note'";
    assert_eq!(database.sql(columns), "0");

    const LATER: &str = "ALTER TABLE {schema}.policies ADD COLUMN note text";
    for _ in 0..2 {
        let migrated = Postgres::migrate_further(&database.url, &schema, &[(100, LATER)]).await;
        migrated.expect("migrated");
    }
    assert_eq!(database.sql(columns), "1");
    // What was there is there, and a host that knows nothing of it goes on and may start anew.
    put(&here, "b").await;
    assert_eq!(listed(&here).await, ["a", "b"]);
    let status = here.schema_status().await.expect("known");
    let ahead = matches!(status, SchemaStatus::Ahead { database: 100, .. });
    assert!(ahead, "{status:?}");
    Postgres::migrate(&database.url, &schema)
        .await
        .expect("an older host may start");
    put(&origin(&database, &schema), "c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_was_renamed_is_refused_since_its_functions_speak_of_another() {
    let database = Database::empty();
    let (before, after) = (named("before"), named("after"));
    Postgres::migrate(&database.url, &before)
        .await
        .expect("migrated");
    database.sql("ALTER SCHEMA before RENAME TO after");
    let error = Postgres::migrate(&database.url, &after).await;
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("the schema after was renamed"), "{error}");
    database.sql("ALTER SCHEMA after RENAME TO before");
    Postgres::migrate(&database.url, &before)
        .await
        .expect("as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_migrate_at_once_wait_for_each_other_whatever_the_database_isolates() {
    for level in ["repeatable read", "serializable"] {
        let database = Database::empty();
        let set = format!(
            "ALTER DATABASE {} SET default_transaction_isolation = '{level}'",
            database.name
        );
        database.sql(&set);
        let migrate = || {
            let url = database.url.clone();
            tokio::spawn(async move { Postgres::migrate(&url, &SchemaName::default()).await })
        };
        for migrated in futures::future::join_all((0..6).map(|_| migrate())).await {
            migrated.expect("no panic").expect(level);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_the_tables_who_may_not_use_the_schema_is_let_in() {
    let database = Database::migrated().await;
    database.sql(
        "CREATE ROLE stranded; \
         DO $$ DECLARE t text; BEGIN \
             FOR t IN SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'ordain'::regnamespace \
                 AND relkind IN ('r', 'v') LOOP EXECUTE 'ALTER TABLE ' || t || ' OWNER TO stranded'; \
             END LOOP; \
             FOR t IN SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'ordain'::regnamespace \
                 LOOP EXECUTE 'ALTER FUNCTION ' || t || ' OWNER TO stranded'; END LOOP; \
         END $$",
    );
    let schema = SchemaName::default();
    Postgres::migrate(&database.url, &schema)
        .await
        .expect("migrated");
    put(&origin(&database, &schema), "a").await;
}
