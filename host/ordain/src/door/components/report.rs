//! What runs, what is wanted and how a candidate does, as HTTP, command line and metrics show it.
//! Not for deciding anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::fleet::{FILE, Fleet, Named};
use super::state::Components;
use super::types::Trouble;
use crate::runtime::{
    ComponentInfo, Fault, Plan, Report, Runtime, Sample, Shadow, Tally, WatchStatus,
};
use crate::world::Capability;

/// The state of the component on one instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentReport {
    /// What answers here.
    #[serde(flatten)]
    pub running: ComponentInfo,
    /// `file`: the one of this instance; `fleet`: it was promoted.
    pub from: &'static str,
    /// When it began to answer here, RFC 3339.
    pub since: String,
    /// `false`: this instance does not run what the fleet wants; `trouble` says why.
    pub as_wanted: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trouble: Vec<Trouble>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watching>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    pub fleet: Wanted,
    pub faults: Faults,
    /// The same by capability, all kinds together.
    pub faults_by_capability: BTreeMap<&'static str, u64>,
    /// Times that another component began to answer here, returns included.
    pub swaps: u64,
    /// Times that a new component failed too often, and the one before answered again.
    pub returns: u64,
}

/// A new component that is watched.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Watching {
    pub ends_in_ms: u64,
    /// What answers if it fails, and runs again if it fails more than `limit` times.
    pub good: String,
    pub faults: u32,
    pub limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault: Option<String>,
    /// At which call: `config.get-effective`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fault_at: Option<String>,
}

/// A candidate that answers in the shadow.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub digest: String,
    /// What it can do: `ordain:policy@1.1.0`.
    pub capabilities: Vec<String>,
    /// `comparing`, or `failed`: it failed too often to be asked again.
    pub state: &'static str,
    pub share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promote_after: Option<u64>,
    pub compared: u64,
    pub equal: u64,
    pub different: u64,
    pub failed: u64,
    pub skipped: u64,
    pub dropped: u64,
    /// What was compared of each capability.
    pub by_capability: BTreeMap<&'static str, Tally>,
    /// Differing answers by field.
    pub differences: BTreeMap<String, u64>,
    pub samples: Vec<Sample>,
}

/// What the fleet wants, by digest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wanted {
    /// `file`: what each instance has.
    pub current: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
}

/// Of the component that answers now, since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub traps: u64,
    pub overruns: u64,
    pub nonsense: u64,
    pub errors: u64,
}

impl Components {
    pub fn report(&self, runtime: &Runtime) -> ComponentReport {
        let lineup = runtime.lineup();
        let fleet = self.wanted();
        let state = self.state();
        let faults = &lineup.current.faults;
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let running = lineup.current.info().clone();
        let wanted = fleet
            .current
            .as_ref()
            .map_or(&**state.file.digest(), |n| &*n.digest);
        ComponentReport {
            as_wanted: wanted == running.digest,
            from: match &state.chosen {
                Some(named) if named.digest == running.digest => "fleet",
                _ if running.digest == **state.file.digest() => FILE,
                _ => "fleet",
            },
            running,
            since: humantime::format_rfc3339_millis(state.since).to_string(),
            trouble: [&state.trouble, &state.candidate_trouble]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            watch: Watching::of(runtime),
            candidate: lineup.shadow.as_deref().map(Candidate::of),
            fleet: Wanted::of(&fleet),
            faults: Faults {
                traps: faults.count(Fault::Trap),
                overruns: faults.count(Fault::Overrun),
                nonsense: faults.count(Fault::Nonsense),
                errors: faults.count(Fault::Error),
            },
            faults_by_capability: Capability::ALL
                .map(|capability| (capability.name(), faults.count_of(capability)))
                .into(),
            swaps: count(&self.swaps),
            returns: count(&self.returns),
        }
    }
}

impl Wanted {
    fn of(fleet: &Fleet) -> Wanted {
        let digest = |named: &Option<Named>| named.as_ref().map(|n| n.digest.clone());
        Wanted {
            current: digest(&fleet.current).unwrap_or_else(|| FILE.to_owned()),
            previous: fleet.previous.clone(),
            candidate: digest(&fleet.candidate),
        }
    }
}

impl Candidate {
    fn of(shadow: &Shadow) -> Candidate {
        let info = shadow.candidate().info();
        let (
            report,
            Plan {
                share,
                promote_after,
            },
        ): (Report, Plan) = (shadow.report(), shadow.plan());
        Candidate {
            digest: info.digest.clone(),
            capabilities: info.capabilities.clone(),
            state: if report.has_given_up() {
                "failed"
            } else {
                "comparing"
            },
            share,
            promote_after,
            compared: report.all.compared,
            equal: report.all.equal,
            different: report.all.different(),
            failed: report.all.failed,
            skipped: report.all.skipped,
            dropped: report.dropped,
            by_capability: report.capabilities,
            differences: report.differences,
            samples: report.samples.into(),
        }
    }
}

impl Watching {
    fn of(runtime: &Runtime) -> Option<Watching> {
        let lineup = runtime.lineup();
        let WatchStatus {
            left,
            faults,
            limit,
            last,
        } = lineup.watch_status()?;
        Some(Watching {
            ends_in_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            good: lineup.good.as_ref()?.digest().to_string(),
            faults,
            limit,
            last_fault_at: last.as_ref().map(|(export, _)| export.to_string()),
            last_fault: last.map(|(_, why)| why),
        })
    }
}

#[cfg(any(test, feature = "contract"))]
impl ComponentReport {
    pub fn for_tests(as_wanted: bool) -> ComponentReport {
        ComponentReport {
            running: ComponentInfo {
                digest: "sha256:ab".to_owned(),
                size: 8,
                capabilities: vec!["ordain:policy@1.1.0".to_owned()],
                imports: Vec::new(),
                exports: Vec::new(),
            },
            from: "file",
            since: String::new(),
            as_wanted,
            trouble: Vec::new(),
            watch: None,
            candidate: None,
            fleet: Wanted::of(&Fleet::default()),
            faults: Faults {
                traps: 0,
                overruns: 0,
                nonsense: 0,
                errors: 0,
            },
            faults_by_capability: BTreeMap::new(),
            swaps: 0,
            returns: 0,
        }
    }
}
