//! What operators measure, in the text format of Prometheus. Everything is read when it is asked
//! for: nothing is kept here. Not for the numbers themselves (`counts` and `door/status.rs` of the
//! library).

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::http::{self, EdgeStatus};
use ordain::door::Ordain;
use ordain_coherence::places::Places;
use ordain_store::ids::Kind;

/// All metrics of an instance.
pub fn text(ordain: &Ordain, edge: &EdgeStatus) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(ordain.clone())));
    registry.register_collector(Box::new(Connections(edge.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Snapshot(Ordain);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

#[derive(Debug)]
struct Connections(EdgeStatus);

impl Collector for Connections {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Writer(encoder);
        let status = &self.0;
        to.gauge(
            "ordain_connections",
            "Connections of callers that are open",
            status.open as f64,
        )?;
        to.gauge(
            "ordain_connections_max",
            "Connections of callers that are taken; those beyond are told so",
            status.most as f64,
        )?;
        to.gauge(
            "ordain_draining",
            "1 while the instance serves on though it was asked to stop",
            flag(status.draining),
        )?;
        to.counters(
            "ordain_connections_taken",
            "Connections of callers that came, by whether there was room",
            [("yes", status.taken), ("no", status.refused)]
                .map(|(room, count)| ([("room", room.to_owned())], count)),
        )?;
        to.counters(
            "ordain_connections_ended",
            "Connections of callers that were ended: by what they were waited for too long, or to make room",
            status
                .ended
                .iter()
                .map(|(cause, count)| ([("cause", (*cause).to_owned())], *count)),
        )
    }
}

/// Writes one metric after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let descriptor = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(descriptor)
    }

    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let kind = metric.metric_type();
        let descriptor = self.0.encode_descriptor(name, help, None, kind)?;
        metric.encode(descriptor)
    }

    /// The same gauge for several things.
    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], f64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut to = Writer(encoder);
        self.answers(&mut to)?;
        self.feed(&mut to)?;
        self.tiers(&mut to)?;
        self.caches(&mut to)?;
        self.component(&mut to)?;
        self.audit(&mut to)
    }
}

impl Snapshot {
    fn answers(&self, to: &mut Writer<'_>) -> fmt::Result {
        let status = self.0.status();
        let component = self.0.component().digest;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        to.gauges(
            "ordain_build_info",
            "Version of the program and digest of the component; always 1",
            [([("version", version), ("component", component)], 1.0)],
        )?;
        to.gauge(
            "ordain_ready",
            "1 while fresh answers can be given",
            flag(status.ready),
        )?;
        let totals = self.0.counts(Kind::Policy).totals();
        to.counters(
            "ordain_requests",
            "Resolve requests by outcome: the tier that answered, or why none did",
            totals.map(|(outcome, total)| ([("outcome", outcome.to_owned())], total)),
        )?;
        let totals = self.0.counts(Kind::Config).totals();
        to.counters(
            "ordain_configs",
            "Effective configs asked for, by outcome: the tier that answered, or why none did",
            totals.map(|(outcome, total)| ([("outcome", outcome.to_owned())], total)),
        )?;
        let restarts = status.tasks.iter();
        to.counters(
            "ordain_task_restarts",
            "Times that a background task panicked and was begun again",
            restarts.map(|task| ([("task", task.name.to_owned())], task.restarts)),
        )?;
        let (used, of) = status.waiting;
        to.gauge("ordain_waiting", "Calls that wait for servers", used as f64)?;
        to.gauge(
            "ordain_waiting_max",
            "Calls that may wait for servers; one more is answered 503",
            of as f64,
        )?;
        self.places(to)
    }

    fn places(&self, to: &mut Writer<'_>) -> fmt::Result {
        let places = [&self.0.places()[..], &http::memory_places()].concat();
        let label = |place: &Places| [("kind", place.name.to_owned())];
        to.gauges(
            "ordain_places_taken",
            "Places that calls of tenants have now, by what they are for",
            places
                .iter()
                .map(|place| (label(place), place.taken() as f64)),
        )?;
        to.gauges(
            "ordain_places",
            "Places of all tenants together; one tenant can have a part of them",
            places
                .iter()
                .map(|place| (label(place), place.total as f64)),
        )?;
        to.counters(
            "ordain_places_refused",
            "Calls that got no place in time, most of them because their tenant had many already",
            places.iter().map(|place| (label(place), place.refused())),
        )
    }

    fn feed(&self, to: &mut Writer<'_>) -> fmt::Result {
        let feed = self.0.status().feed;
        to.gauge(
            "ordain_feed_connected",
            "1 if the latest read of the change log was applied",
            flag(feed.connected),
        )?;
        if let Some(watermark) = feed.watermark {
            to.gauge(
                "ordain_feed_watermark",
                "Position up to which the change log is applied",
                watermark as f64,
            )?;
        }
        if let Some(age) = feed.proven_age {
            to.gauge(
                "ordain_feed_proven_age_seconds",
                "Time since near was last proven to be current",
                age.as_secs_f64(),
            )?;
        }
        if let Some(lag) = feed.lag {
            to.gauge(
                "ordain_feed_lag_seconds",
                "How late the newest change was when it was read, by the clock of the primary",
                lag.as_secs_f64(),
            )?;
        }
        to.gauge(
            "ordain_feed_window_rows",
            "Rows of the change log in memory",
            feed.window.0 as f64,
        )?;
        to.counters(
            "ordain_feed_purges",
            "Times that cached records were dropped: history had changed, or an operator ordered it",
            [
                ([("cause", "history".to_owned())], feed.purges),
                ([("cause", "operator".to_owned())], feed.ordered_purges),
            ],
        )?;
        to.gauge(
            "ordain_notification_queue_ratio",
            "How full the notification queue of Postgres is, 0 to 1; when it is full, writes fail",
            feed.queue,
        )
    }

    fn tiers(&self, to: &mut Writer<'_>) -> fmt::Result {
        let status = self.0.status();
        let mut breakers = vec![("origin", &status.origin.breaker)];
        breakers.extend(status.far.as_ref().map(|far| ("far", &far.breaker)));
        breakers.extend(status.far_writes.as_ref().map(|puts| ("far-write", puts)));
        let label = |tier: &str| [("tier", tier.to_owned())];
        to.gauges(
            "ordain_breaker_open",
            "1 while nobody waits for the tier, because it does not answer; far-write: far takes no values",
            breakers
                .iter()
                .map(|(name, breaker)| (label(name), flag(breaker.open))),
        )?;
        to.counters(
            "ordain_breaker_opened",
            "Times that the breaker has opened",
            breakers
                .iter()
                .map(|(name, breaker)| (label(name), breaker.opened)),
        )?;
        to.counters(
            "ordain_breaker_refused",
            "Calls that an open breaker has turned away",
            breakers
                .iter()
                .map(|(name, breaker)| (label(name), breaker.refused)),
        )?;
        let io = self.0.io_counts();
        to.counters(
            "ordain_tier_calls",
            "Calls that were sent to a server",
            io.iter().map(|(tier, call, count)| {
                (
                    [("tier", (*tier).to_owned()), ("call", (*call).to_owned())],
                    *count,
                )
            }),
        )
    }

    fn caches(&self, to: &mut Writer<'_>) -> fmt::Result {
        let near = self.0.status().near;
        to.gauge(
            "ordain_near_entries",
            "Records in near",
            near.entries as f64,
        )?;
        to.gauge("ordain_near_bytes", "Bytes of near", near.bytes as f64)?;
        to.gauge(
            "ordain_near_bytes_max",
            "Bytes that near may have",
            near.bytes_max as f64,
        )?;
        let caches = self.0.caches().caches();
        to.gauges(
            "ordain_cache_on",
            "1 if the cache is on: all switches that concern it are, and its backend is configured",
            caches.iter().map(|cache| {
                let labels = [
                    ("kind", cache.kind.to_string()),
                    ("tier", cache.tier.to_owned()),
                ];
                (labels, flag(cache.off.is_none()))
            }),
        )
    }

    fn component(&self, to: &mut Writer<'_>) -> fmt::Result {
        let report = self.0.component_report();
        to.gauge(
            "ordain_component_as_wanted",
            "1 if the component that the fleet wants answers here",
            flag(report.as_wanted),
        )?;
        to.counters(
            "ordain_component_swaps",
            "Times that another component began to answer here; cause return: the new one had failed too often",
            [
                ([("cause", "order".to_owned())], report.swaps - report.returns),
                ([("cause", "return".to_owned())], report.returns),
            ],
        )?;
        let faults = report.faults;
        to.counters(
            "ordain_component_faults",
            "Failures of the component that answers now, since it was loaded",
            [
                ("trap", faults.traps),
                ("overrun", faults.overruns),
                ("nonsense", faults.nonsense),
                ("error", faults.errors),
            ]
            .map(|(kind, count)| ([("kind", kind.to_owned())], count)),
        )?;
        to.counters(
            "ordain_component_capability_faults",
            "The same failures, by the capability that was asked for",
            report
                .faults_by_capability
                .into_iter()
                .map(|(capability, count)| ([("capability", capability.to_owned())], count)),
        )?;
        let Some(candidate) = report.candidate else {
            return Ok(());
        };
        to.counters(
            "ordain_candidate_answers",
            "Answers of the candidate in the shadow, by what became of them",
            [
                ("equal", candidate.equal),
                ("different", candidate.different - candidate.failed),
                ("failed", candidate.failed),
                ("skipped", candidate.skipped),
                ("dropped", candidate.dropped),
            ]
            .map(|(outcome, count)| ([("outcome", outcome.to_owned())], count)),
        )?;
        to.counters(
            "ordain_candidate_capability_answers",
            "The same answers, by the capability that was asked for",
            candidate
                .by_capability
                .iter()
                .flat_map(|(capability, tally)| {
                    [
                        ("equal", tally.equal),
                        ("different", tally.different() - tally.failed),
                        ("failed", tally.failed),
                        ("skipped", tally.skipped),
                    ]
                    .map(|(outcome, count)| {
                        let capability = ("capability", (*capability).to_owned());
                        ([capability, ("outcome", outcome.to_owned())], count)
                    })
                }),
        )?;
        to.counters(
            "ordain_candidate_differences",
            "Answers of the candidate that differ, by field",
            candidate
                .differences
                .into_iter()
                .map(|(field, count)| ([("field", field)], count)),
        )
    }

    fn audit(&self, to: &mut Writer<'_>) -> fmt::Result {
        let audit = self.0.audit();
        to.counters(
            "ordain_audit_checks",
            "Cached values that were compared with the origin, by tier and outcome",
            audit.checks().map(|(tier, outcome, count)| {
                (
                    [("tier", tier.to_owned()), ("outcome", outcome.to_owned())],
                    count,
                )
            }),
        )?;
        to.metric(
            "ordain_audit_staleness_seconds",
            "How long the origin had been newer than a cached value that would have been answered",
            audit.staleness(),
        )
    }
}
