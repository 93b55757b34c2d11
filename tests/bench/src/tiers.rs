//! A decision that reads the far cache or the origin, beside nothing but that read: the same
//! server, the same client crate, the same bytes. Near is off, so the guest decodes the record's
//! text on every call: what a first request of a tenant costs.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use ordain::Ordain;
use ordain::answer::Tier;
use ordain::options::Switches;
use ordain_coherence::far_value::far_key;
use ordain_store::ids::Key;
use ordain_tests::services::{Postgres, Redis};
use sqlx::Connection as _;

use crate::decision;
use crate::measure::{Contender, round};
use crate::report::Row;

const ROUNDS: usize = 41;
const CALLS: usize = 300;

/// A query of the row and nothing else, as somebody who sees all rows.
const ROW: &str = "SELECT body, revision FROM ordain.policies WHERE tenant = $1";
/// The same in a transaction of the tenant, as the role that sees nothing else: in one statement,
/// which is the least that row level security costs.
const TENANT_ROW: &str = "SELECT p.body, p.revision \
     FROM (SELECT set_config('ordain.tenant', $1, true) AS tenant OFFSET 0) t CROSS JOIN LATERAL \
     (SELECT body, revision FROM ordain.policies WHERE tenant = t.tenant OFFSET 0) p";
/// In that role, too: the way in which a transaction of a tenant is usually written.
const OWN_ROW: &str = "SELECT body, revision FROM ordain.policies WHERE tenant = $1";

pub async fn run() -> anyhow::Result<Vec<Row>> {
    let (postgres, redis) =
        tokio::task::spawn_blocking(|| (Postgres::start(), Redis::start())).await?;
    let database = postgres.database();
    let mut rows = far(&database, &redis.url()).await?;
    rows.extend(origin(&database).await?);
    Ok(rows)
}

/// Near is off, so that every request reads far.
async fn far(database: &str, redis: &str) -> anyhow::Result<Vec<Row>> {
    let (tenant, request) = (decision::tenant(), decision::allowed());
    let near_off = Switches {
        near: false,
        ..Switches::default()
    };
    let ordain = Ordain::builder()
        .postgres(database)
        .redis(redis)
        .options(|options| options.switches = near_off)
        .start()
        .await?;
    let policy = decision::policy().to_string();
    ordain
        .put_policy(&tenant, &policy, Default::default(), &Default::default())
        .await?;
    until(&ordain, Tier::Far).await?;

    let client = redis::Client::open(redis)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut get = redis::cmd("GET");
    get.arg(far_key(&Key::policy(&tenant)));
    let bytes: Vec<u8> = get.query_async(&mut connection).await?;
    ensure!(
        bytes.len() > policy.len(),
        "far holds {} bytes",
        bytes.len()
    );

    let mut rows = ["far_hit", "redis_get"].map(Contender::new);
    for turn in 0..=ROUNDS {
        let rounds = [
            round(CALLS, async || {
                black_box(ordain.resolve(&tenant, &request).await.is_ok());
            })
            .await,
            round(CALLS, async || {
                black_box(get.query_async::<Vec<u8>>(&mut connection).await.is_ok());
            })
            .await,
        ];
        if turn > 0 {
            rows.iter_mut()
                .zip(rounds)
                .for_each(|(row, round)| row.add(round));
        }
    }
    // Whoever fell back to the origin in between would have been measured as something else.
    until(&ordain, Tier::Far).await?;
    ordain.close().await;
    let [far, get] = &rows;
    Ok(vec![far.row(&[get]), get.row(&[])])
}

/// No cache at all.
async fn origin(database: &str) -> anyhow::Result<Vec<Row>> {
    let (tenant, request) = (decision::tenant(), decision::allowed());
    let off = Switches {
        all: false,
        ..Switches::default()
    };
    let ordain = Ordain::builder()
        .postgres(database)
        .options(|options| options.switches = off)
        .start()
        .await?;
    until(&ordain, Tier::Origin).await?;

    let mut owner = ordain_tests::sql::connect(database).await?;
    let mut connection = ordain_tests::sql::connect(database).await?;
    sqlx::raw_sql("SET ROLE ordain_tenant")
        .execute(&mut connection)
        .await?;
    let names = [
        "origin_read",
        "sqlx_query",
        "sqlx_transaction",
        "sqlx_all_rows",
    ];
    let mut rows = names.map(Contender::new);
    for turn in 0..=ROUNDS {
        let rounds = [
            round(CALLS, async || {
                black_box(ordain.resolve(&tenant, &request).await.is_ok());
            })
            .await,
            round(CALLS, async || {
                let query = sqlx::query_as::<_, (String, i64)>(TENANT_ROW).bind(tenant.as_str());
                black_box(query.fetch_one(&mut connection).await.is_ok());
            })
            .await,
            round(CALLS, async || {
                let found = transaction(&mut connection, tenant.as_str()).await;
                black_box(found.is_ok());
            })
            .await,
            round(CALLS, async || {
                let query = sqlx::query_as::<_, (String, i64)>(ROW).bind(tenant.as_str());
                black_box(query.fetch_one(&mut owner).await.is_ok());
            })
            .await,
        ];
        if turn > 0 {
            rows.iter_mut()
                .zip(rounds)
                .for_each(|(row, round)| row.add(round));
        }
    }
    ordain.close().await;
    // What failed would have been measured as something else.
    ensure!(transaction(&mut connection, tenant.as_str()).await?.1 > 0);
    let query = sqlx::query_as::<_, (String, i64)>(TENANT_ROW).bind(tenant.as_str());
    query.fetch_one(&mut connection).await?;
    let [origin, query, transaction, all] = &rows;
    Ok(vec![
        origin.row(&[query, transaction, all]),
        query.row(&[all]),
        transaction.row(&[]),
        all.row(&[]),
    ])
}

async fn transaction(
    connection: &mut sqlx::PgConnection,
    tenant: &str,
) -> Result<(String, i64), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT set_config('ordain.tenant', $1, true)")
        .bind(tenant)
        .execute(&mut *transaction)
        .await?;
    let query = sqlx::query_as::<_, (String, i64)>(OWN_ROW).bind(tenant);
    let row = query.fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(row)
}

/// Asks until an answer comes from this tier, for two seconds at most: puts into far happen in the
/// background, and the feed needs a moment to know the log.
async fn until(ordain: &Ordain, tier: Tier) -> anyhow::Result<()> {
    let (tenant, request) = (decision::tenant(), decision::allowed());
    let asking = async {
        loop {
            match ordain.resolve(&tenant, &request).await {
                Ok(answer) if answer.provenance.tier == tier => {
                    let route = answer.route().context("refused")?;
                    let found = (&*route.provider, &*route.model);
                    ensure!(found == decision::ALLOWED_ROUTE, "{found:?}");
                    return Ok(());
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(2), asking)
        .await
        .with_context(|| format!("no answer came from {tier:?}"))?
}
