//! Many tenants in near: what a hit costs when they are asked at random, and how much memory one
//! takes beyond the bytes of its record. In process, with policies in memory.

use std::hint::black_box;

use anyhow::{Context as _, ensure};
use ordain::Ordain;
use ordain::answer::Tier;
use ordain::request::Request;
use ordain_store::ids::Tenant;
use rand::Rng as _;
use serde_json::json;

use crate::decision;
use crate::measure::{Round, median, round};
use crate::report::{Figure, Finding, Goal, Section};
use crate::scale::Scale;

const ROUNDS: usize = 21;
const CALLS: usize = 5000;
/// Policies of one import, so that the texts of all need not be there at once.
const CHUNK: usize = 10_000;
/// Room that near has for one tenant: more than it takes, so that nothing is evicted.
const ROOM: u64 = 4 << 10;
/// What near has by default, at least.
const LEAST_ROOM: u64 = 256 << 20;
/// Memory that a tenant takes here at most, the origin's copies included.
const NEED: u64 = 8 << 10;

const METHOD: &str = "Every tenant has a record of its own (ten tasks, four users, three globs) and was asked once before; then \
    tenants are asked at random, all sizes in turns. Memory: what the process grew by while near was filled, and the texts \
    themselves, which near shares with the origin in memory here; by its own account near also counts what it does not \
    yet hold of each (decoded bytes).";

/// An Ordain whose near holds so many tenants.
struct Filled {
    ordain: Ordain,
    tenants: Vec<Tenant>,
    /// Bytes of the canonical texts.
    text: u64,
    grown: i64,
    rounds: Vec<Round>,
}

pub async fn run(scale: &Scale) -> anyhow::Result<Section> {
    let mut method = METHOD.to_owned();
    let mut sizes = Vec::new();
    for size in scale.tenants {
        let free = crate::memory::free()?;
        if free > NEED * *size as u64 {
            sizes.push(Filled::with(*size).await?);
        } else {
            method.push_str(&format!(
                " {size} tenants: not enough memory to measure it."
            ));
        }
    }
    let request = decision::allowed();
    // The first round warms up and does not count.
    for turn in 0..=ROUNDS {
        for filled in &mut sizes {
            let round = filled.ask(&request).await;
            if turn > 0 {
                filled.rounds.push(round);
            }
        }
    }
    let mut findings = Vec::new();
    for filled in &sizes {
        filled.check(&request).await?;
        findings.push(filled.finding(sizes.first().unwrap_or(filled)));
    }
    for filled in sizes {
        filled.ordain.close().await;
    }
    Ok(Section {
        title: "Many tenants in near",
        method,
        findings,
    })
}

fn name(number: usize) -> String {
    format!("tenant-{number:07}")
}

/// The policy of everybody, with names that no other tenant has.
fn record(number: usize) -> String {
    let mut policy = decision::policy();
    policy["defaultModel"] = json!(format!("gpt-4o-{number:07}"));
    policy.to_string()
}

impl Filled {
    async fn with(size: usize) -> anyhow::Result<Filled> {
        let room = LEAST_ROOM.max(ROOM * size as u64);
        let ordain = Ordain::builder()
            .options(|options| options.near_bytes = room)
            .start()
            .await?;
        let mut tenants = Vec::with_capacity(size);
        let mut revision = 0;
        for start in (0..size).step_by(CHUNK) {
            let numbers = start..size.min(start + CHUNK);
            let mut policies = Vec::with_capacity(CHUNK);
            for number in numbers {
                let tenant = Tenant::new(&name(number))?;
                tenants.push(tenant.clone());
                policies.push((tenant, record(number)));
            }
            revision = ordain
                .import(&policies, &Default::default(), &|_| {})
                .await
                .context("the import failed")?
                .revision;
        }
        let text = ordain.validate(None, &record(0)).await?.len() as u64 * size as u64;
        // The log is known, so that what is asked from now on stays in near.
        let knows = Request {
            min_revision: revision,
            ..decision::allowed()
        };
        ordain
            .resolve(tenants.first().context("a tenant")?, &knows)
            .await?;
        let before = crate::memory::resident(std::process::id())?;
        for tenant in &tenants {
            ordain.resolve(tenant, &knows).await?;
        }
        let grown = crate::memory::resident(std::process::id())? - before;
        let filled = Filled {
            ordain,
            tenants,
            text,
            grown,
            rounds: Vec::new(),
        };
        filled.check(&decision::allowed()).await?;
        Ok(filled)
    }

    /// All are in near, and answered from there.
    async fn check(&self, request: &Request) -> anyhow::Result<()> {
        let entries = self.ordain.status().near.entries;
        ensure!(entries == self.tenants.len(), "near has {entries} entries");
        for tenant in self
            .tenants
            .iter()
            .step_by(self.tenants.len().div_ceil(100))
        {
            let answer = self.ordain.resolve(tenant, request).await?;
            let route = answer.route().context("refused")?;
            let found = (&*route.provider, &*route.model);
            ensure!(found == decision::ALLOWED_ROUTE, "{found:?}");
            ensure!(
                answer.provenance.tier == Tier::Near,
                "{:?}",
                answer.provenance
            );
        }
        Ok(())
    }

    async fn ask(&self, request: &Request) -> Round {
        let mut random = rand::rng();
        let mut order = Vec::with_capacity(CALLS);
        order.extend((0..CALLS).map(|_| random.random_range(0..self.tenants.len())));
        let mut next = order.into_iter();
        round(CALLS, async || {
            // Its own list is read in order; the tenant's name is as cold as it would be.
            let tenant = next.next().and_then(|at| self.tenants.get(at));
            if let Some(tenant) = tenant {
                black_box(
                    self.ordain
                        .resolve(black_box(tenant), request)
                        .await
                        .is_ok(),
                );
            }
        })
        .await
    }

    fn finding(&self, first: &Filled) -> Finding {
        let size = self.tenants.len();
        let middle = |of: fn(&Round) -> u64| {
            median(self.rounds.iter().map(|r| of(r) as f64).collect()) as u64
        };
        let pairs = self.rounds.iter().zip(&first.rounds);
        let cost = median(
            pairs
                .map(|(own, first)| own.p50 as f64 / first.p50.max(1) as f64)
                .collect(),
        );
        let held = self.grown.saturating_add_unsigned(self.text);
        let memory = held as f64 / self.text.max(1) as f64;
        let each = |bytes: u64| Figure::Count(bytes / size.max(1) as u64);
        let id = format!("tenants: {size}");
        let finding = Finding::new(id.clone(), "ordain")
            .figure("hit, p50", Figure::Nanos(middle(|round| round.p50)))
            .figure("hit, p99", Figure::Nanos(middle(|round| round.p99)))
            .figure("hit / that of the first", Figure::Ratio(cost))
            .figure("bytes of a record", each(self.text))
            .figure("bytes of a tenant", each(u64::try_from(held).unwrap_or(0)))
            .figure("by near's account", each(self.ordain.status().near.bytes))
            .figure("memory / records", Figure::Ratio(memory));
        if std::ptr::eq(self, first) {
            return finding;
        }
        let goal = |what: &str, is, must| Goal::at_most(format!("{id}: {what}"), is, must, must);
        finding
            .goal(goal("hit / that of 1000", cost, 1.5))
            .goal(goal("memory / records", memory, 2.0))
    }
}
