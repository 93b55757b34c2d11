//! Compares, now and then, what near and far would answer with what the origin holds, and measures
//! how much older it is: the figure behind the stated bound, as operators see it. Repairs nothing:
//! a value that differs with no change to explain it was written past the log, and only a logged
//! purge reaches every host (`ordain purge`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use rand::Rng;

use super::clock::Moment;
use super::far::Far;
use super::origin::OriginReader;
use super::window::Coherence;
use crate::caches::Caches;
use ordain_store::ids::Key;
use ordain_store::{Origin, Record};

/// Keys of one pass.
const SAMPLES: usize = 8;

pub struct Auditor {
    pub coherence: Arc<Coherence>,
    pub origin: Arc<dyn Origin>,
    pub reader: Arc<OriginReader>,
    pub far: Option<Arc<Far>>,
    pub caches: Arc<Caches>,
    pub interval: Duration,
    pub findings: Arc<Findings>,
}

/// What an audited value turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// What the origin holds.
    Current,
    /// Older than that by no more than the bound allows.
    Behind,
    /// Older than that by more than the bound allows.
    Late,
    /// Different from what the origin holds, with no change in the log to explain it.
    Wrong,
}

const FINDINGS: [(Finding, &str); 4] = [
    (Finding::Current, "current"),
    (Finding::Behind, "behind"),
    (Finding::Late, "late"),
    (Finding::Wrong, "wrong"),
];

/// All that was found since the start.
pub struct Findings {
    near: [AtomicU64; 4],
    far: [AtomicU64; 4],
    staleness: Histogram,
}

impl Default for Findings {
    fn default() -> Findings {
        Findings {
            near: Default::default(),
            far: Default::default(),
            staleness: Histogram::new([
                0.0, 0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 60.0,
            ]),
        }
    }
}

impl Findings {
    /// Tier, finding and how often.
    pub fn checks(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of = |tier, counts: &[AtomicU64; 4]| {
            FINDINGS.map(|(finding, name)| {
                (tier, name, counts[finding as usize].load(Ordering::Relaxed))
            })
        };
        of("near", &self.near)
            .into_iter()
            .chain(of("far", &self.far))
    }

    /// How much older than the origin the audited values were, in seconds.
    pub fn staleness(&self) -> &Histogram {
        &self.staleness
    }

    fn note(&self, tier: &'static str, key: &Key, finding: Finding, staleness: Option<Duration>) {
        let counts = if tier == "near" {
            &self.near
        } else {
            &self.far
        };
        counts[finding as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(staleness) = staleness {
            self.staleness.observe(staleness.as_secs_f64());
        }
        let tenant = key.tenant.as_ref().map_or("", |t| t.as_str());
        match finding {
            Finding::Current | Finding::Behind => {}
            Finding::Late => tracing::error!(
                tier,
                tenant,
                ?staleness,
                "a cached record was answered as fresh longer after a change than the bound allows"
            ),
            Finding::Wrong => tracing::error!(
                tier,
                tenant,
                "a cached record is not what the origin holds, and the log knows of no change: \
                 it was edited past the triggers; run `ordain purge`"
            ),
        }
    }
}

impl Auditor {
    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(self.interval.mul_f64(jitter)).await;
            let coherence = self.coherence.clone();
            // Walks all of near: not on a thread that serves.
            let keys = tokio::task::spawn_blocking(move || coherence.near.sample(SAMPLES)).await;
            for key in keys.unwrap_or_default() {
                self.check(&key).await;
            }
        }
    }

    pub(super) async fn check(&self, key: &Key) {
        let began = Moment::now();
        let in_force = self.caches.in_force();
        // As a request would (rules N1, A2): the view first; what is not proven is not called
        // fresh.
        let before = self.reader.before();
        let Some(view) = self.coherence.view() else {
            return;
        };
        if began.since(view.proven) > in_force.bound || self.reader.breaker.is_open() {
            return;
        }
        let near = self
            .coherence
            .near
            .peek(key)
            .filter(|_| in_force.near.has(key.kind()));
        let near = near.filter(|entry| entry.as_of <= view.watermark);
        let far = match &self.far {
            Some(far) if in_force.far.has(key.kind()) => {
                self.far_value(far, key, view.watermark).await
            }
            _ => None,
        };
        if near.is_none() && far.is_none() {
            return;
        }
        let Ok(audit) = self.origin.audit(key, view.watermark).await else {
            self.reader.suspect();
            return;
        };
        self.reader
            .learn(&before, audit.as_of, std::slice::from_ref(key));
        if self.coherence.purges() != before.purges() || !audit.known {
            // Of another history: nothing can be compared.
            return;
        }
        let staleness = match audit.newer {
            None => Some(Duration::ZERO),
            // What was changed after this began had not been changed when a request would have
            // answered.
            Some((_, age)) => Some(age.saturating_sub(Moment::now().since(began))),
        };
        let (late, staleness) = match (audit.newer, staleness) {
            (Some((position, _)), Some(age)) if age > in_force.bound => {
                // The age is that of the change, which may have been committed much later. If it
                // was not, this host must know it by now.
                tokio::time::sleep(in_force.bound).await;
                let late = self.coherence.watermark().is_some_and(|w| w < position);
                (late, staleness.filter(|_| late))
            }
            _ => (false, staleness),
        };
        let judge = |cached: &Option<Record>| match audit.newer {
            None if *cached == audit.record => Finding::Current,
            None => Finding::Wrong,
            Some(_) if late => Finding::Late,
            Some(_) => Finding::Behind,
        };
        if let Some(entry) = near {
            self.findings
                .note("near", key, judge(&entry.record), staleness);
        }
        if let Some(record) = far {
            self.findings.note("far", key, judge(&record), staleness);
        }
    }

    /// What far would answer as of `watermark`, if anything.
    async fn far_value(&self, far: &Arc<Far>, key: &Key, watermark: u64) -> Option<Option<Record>> {
        let (_flight, values) = far.get(std::slice::from_ref(key)).await;
        let values = values.ok()?;
        let value = far.codec().decode(key, values.first()?.as_ref()?)?;
        let usable = value.as_of <= watermark && self.coherence.usable(key, value.as_of);
        usable.then_some(value.record)
    }
}
