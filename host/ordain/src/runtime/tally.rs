//! What came of comparing a candidate with the component in force: how many answers were equal, by
//! capability, and of those that were not, which fields differ. Not for who asks (`shadow`), nor
//! for what follows (`door/components`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::world::Export;

/// Differing answers that are kept to be looked at.
const SAMPLES: usize = 20;
/// Failures of the candidate, after which it is asked no more.
const FAILURES_MAX: u64 = 20;

/// What came of it so far.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub all: Tally,
    /// By the name of the capability.
    pub capabilities: BTreeMap<&'static str, Tally>,
    /// Not asked, for lack of time.
    pub dropped: u64,
    /// Differing answers by field.
    pub differences: BTreeMap<String, u64>,
    /// The latest of them.
    pub samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub compared: u64,
    pub equal: u64,
    /// The candidate trapped, overran or gave an error.
    pub failed: u64,
    /// Could not be compared: the record has changed, or the candidate would have had to wait.
    pub skipped: u64,
}

/// What came of one comparison.
pub enum Outcome {
    Skipped,
    /// With the error, as it may be shown.
    Failed(Value),
    /// With the fields that differ.
    Compared(Vec<Differing>),
}

/// What was asked. No user and no record: ids of tenant and task.
pub struct Asked {
    pub export: Export,
    pub tenant: Option<String>,
    pub task: Option<String>,
}

/// One differing answer: what was asked, and what was decided.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sample {
    /// RFC 3339.
    pub at: String,
    /// `policy.resolve`
    pub call: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Field, what the component in force said, what the candidate said.
    pub fields: Vec<Differing>,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Differing {
    pub field: String,
    pub current: Value,
    pub candidate: Value,
}

impl Tally {
    pub fn different(&self) -> u64 {
        self.compared - self.equal
    }

    fn note(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Skipped => self.skipped += 1,
            Outcome::Failed(_) => {
                self.compared += 1;
                self.failed += 1;
            }
            Outcome::Compared(fields) => {
                self.compared += 1;
                self.equal += u64::from(fields.is_empty());
            }
        }
    }
}

impl Report {
    pub(super) fn note(&mut self, asked: Asked, outcome: Outcome) {
        let capability = asked.export.capability().name();
        self.all.note(&outcome);
        self.capabilities
            .entry(capability)
            .or_default()
            .note(&outcome);
        let fields = match outcome {
            Outcome::Skipped => return,
            Outcome::Failed(error) => vec![Differing {
                field: "error".to_owned(),
                current: Value::Null,
                candidate: error,
            }],
            Outcome::Compared(fields) if fields.is_empty() => return,
            Outcome::Compared(fields) => fields,
        };
        for differing in &fields {
            let count = self.differences.entry(differing.field.clone());
            *count.or_default() += 1;
        }
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front(Sample {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            call: asked.export.to_string(),
            tenant: asked.tenant,
            task: asked.task,
            fields,
        });
    }

    /// Whether there are enough equal answers, and no other.
    pub(super) fn is_ready(&self, promote_after: Option<u64>) -> bool {
        let Tally { equal, failed, .. } = self.all;
        promote_after
            .is_some_and(|wanted| equal >= wanted && self.all.different() == 0 && failed == 0)
    }

    /// The candidate has failed too often to go on.
    pub fn has_given_up(&self) -> bool {
        self.all.failed > FAILURES_MAX
    }
}

/// Every leaf that differs, its name with dots.
pub fn find_differing(current: &Value, candidate: &Value) -> Vec<Differing> {
    let mut found = Vec::new();
    walk("", current, candidate, &mut found);
    found
}

fn walk(path: &str, current: &Value, candidate: &Value, found: &mut Vec<Differing>) {
    let empty = Map::new();
    let (a, b) = match (current.as_object(), candidate.as_object()) {
        (None, None) if current == candidate => return,
        (None, None) => {
            found.push(Differing {
                field: path.to_owned(),
                current: current.clone(),
                candidate: candidate.clone(),
            });
            return;
        }
        (a, b) => (a.unwrap_or(&empty), b.unwrap_or(&empty)),
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let member = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or_default();
        walk(&path, &member(a), &member(b), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_that_differs_is_named_with_both_values() {
        let current =
            json!({"allow": true, "model": "a", "rules": {"model": "task"}, "temperature": 1.0});
        let candidate = json!({"allow": false, "model": "a", "refusal": {"code": "no-policy"}});
        let fields: Vec<String> = find_differing(&current, &candidate)
            .into_iter()
            .map(|d| format!("{} {} {}", d.field, d.current, d.candidate))
            .collect();
        let expected = [
            "allow true false",
            "refusal.code null \"no-policy\"",
            "rules.model \"task\" null",
            "temperature 1.0 null",
        ];
        assert_eq!(fields, expected);
        assert_eq!(find_differing(&current, &current), []);
    }

    fn note(report: &mut Report, export: Export, outcome: Outcome) {
        let asked = Asked {
            export,
            tenant: None,
            task: None,
        };
        report.note(asked, outcome);
    }

    #[test]
    fn a_candidate_is_ready_after_equal_answers_alone_whatever_was_asked() {
        let mut report = Report::default();
        for export in [Export::Resolve, Export::GetEffective] {
            note(&mut report, export, Outcome::Compared(Vec::new()));
            note(&mut report, export, Outcome::Skipped);
        }
        assert!(report.is_ready(Some(2)));
        assert!(!report.is_ready(Some(3)));
        assert!(!report.is_ready(None));
        note(
            &mut report,
            Export::PatchConfig,
            Outcome::Failed("why".into()),
        );
        assert!(!report.is_ready(Some(2)), "one answer differs");
        let of = |name| report.capabilities[name];
        assert_eq!((of("policy").equal, of("policy").failed), (1, 0));
        assert_eq!((of("config").equal, of("config").failed), (1, 1));
        assert_eq!(report.samples[0].call, "config.patch");
    }
}
