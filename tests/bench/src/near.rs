//! A warm near hit through the component, beside its peers: all in this process, without I/O.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use ordain::Ordain;
use ordain::answer::Tier;
use ordain_store::ids::{Level, Tenant, User};

use crate::decision;
use crate::measure::{Contender, round};
use crate::peers::cedar::Cedar;
use crate::peers::native::Native;
use crate::peers::regorus::Regorus;
use crate::report::Row;

const ROUNDS: usize = 41;
const CALLS: usize = 2000;

pub async fn run() -> anyhow::Result<Vec<Row>> {
    let (tenant, request) = (decision::tenant(), decision::allowed());
    // The component beside this executable; policies in memory.
    let ordain = Ordain::builder().start().await?;
    let policy = decision::policy().to_string();
    ordain
        .put_policy(&tenant, &policy, Default::default(), &Default::default())
        .await?;
    let mut native = Native::start(&ordain.validate(None, &policy).await?).await?;
    let cedar = Cedar::new()?;
    let mut rego = Regorus::new()?;

    // The same answers, before anyone is timed.
    let answer = ordain.resolve(&tenant, &request).await?;
    let route = answer.route().context("ordain refuses")?;
    ensure!(
        (&*route.provider, &*route.model) == decision::ALLOWED_ROUTE,
        "{route:?}"
    );
    ensure!(
        native.route(&request)? == Some(decision::ALLOWED_ROUTE),
        "native differs"
    );
    ensure!(cedar.allows(&cedar.allowed), "cedar differs");
    ensure!(
        rego.route(&request)? == Some(decision::ALLOWED_ROUTE),
        "regorus differs"
    );
    let refused = decision::refused();
    ensure!(
        ordain.resolve(&tenant, &refused).await?.route().is_none(),
        "ordain allows too much"
    );
    ensure!(native.route(&refused)?.is_none(), "native allows too much");
    ensure!(!cedar.allows(&cedar.refused), "cedar allows too much");
    ensure!(rego.route(&refused)?.is_none(), "regorus allows too much");
    let warm = ordain.resolve(&tenant, &request).await?;
    ensure!(
        warm.provenance.tier == Tier::Near,
        "near is not warm: {:?}",
        warm.provenance
    );

    let largest = Tenant::new("largest")?;
    let record = decision::largest().to_string();
    ordain
        .put_policy(&largest, &record, Default::default(), &Default::default())
        .await?;
    for _ in 0..2 {
        let answer = ordain.resolve(&largest, &request).await?;
        ensure!(answer.route().is_none(), "no glob is meant to match");
    }

    let mut rows = [
        "near_hit",
        "native",
        "cedar",
        "regorus",
        "config_hit",
        "largest_record",
    ]
    .map(Contender::new);
    // Three levels, each with a field of its own.
    let ann = User::new("ann")?;
    for (level, patch) in [
        (Level::Global, r#"{"mergeMaxMessages":50}"#),
        (Level::Tenant(tenant.clone()), r#"{"pathMaxMessages":80}"#),
        (
            Level::User(tenant.clone(), ann.clone()),
            r#"{"autoCompactEnabled":false}"#,
        ),
    ] {
        let by = Default::default();
        ordain
            .patch_config(&level, patch, Default::default(), &by)
            .await?;
    }
    let config = ordain.effective_config(&tenant, Some(&ann), 0).await?;
    let of = &config.config;
    for set in [
        r#""mergeMaxMessages":50"#,
        r#""pathMaxMessages":80"#,
        r#""autoCompactEnabled":false"#,
    ] {
        ensure!(of.contains(set), "{of}");
    }
    let input = Regorus::input(&request);
    // The first round warms up and does not count.
    for turn in 0..=ROUNDS {
        let rounds = [
            round(CALLS, async || {
                black_box(
                    ordain
                        .resolve(black_box(&tenant), black_box(&request))
                        .await
                        .is_ok(),
                );
            })
            .await,
            round(CALLS, async || {
                black_box(native.resolve(black_box(&request)).is_ok());
            })
            .await,
            round(CALLS, async || {
                black_box(cedar.allows(black_box(&cedar.allowed)));
            })
            .await,
            round(CALLS, async || {
                black_box(rego.decide(black_box(&input)).is_ok());
            })
            .await,
            round(CALLS, async || {
                let config = ordain.effective_config(black_box(&tenant), Some(&ann), 0);
                black_box(config.await.is_ok());
            })
            .await,
            round(CALLS, async || {
                black_box(
                    ordain
                        .resolve(black_box(&largest), black_box(&request))
                        .await
                        .is_ok(),
                );
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
    let [near, native, cedar, rego, config, largest] = &rows;
    Ok(vec![
        near.row(&[native, cedar, rego]),
        native.row(&[]),
        cedar.row(&[]),
        rego.row(&[]),
        config.row(&[near]),
        largest.row(&[near]),
    ])
}
