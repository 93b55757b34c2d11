//! What became of one contender in one workload, and whether that is what was wanted.

use serde::ser::{SerializeMap as _, Serializer};

use crate::measure::Spread;

/// A workload and all its contenders.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    /// How it was measured, and what is equal and what is not.
    pub method: String,
    pub findings: Vec<Finding>,
}

/// One contender in one workload.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// Workload and case.
    pub id: String,
    pub contender: &'static str,
    #[serde(flatten)]
    pub times: Option<Times>,
    /// A peer, and the time taken as a multiple of the peer's: for the picture.
    #[serde(skip)]
    pub beside: Option<(&'static str, f64)>,
    /// What else was counted, in the order of the columns.
    #[serde(serialize_with = "as_map", skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<(&'static str, Figure)>,
    /// What a reader has to know about this line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Goal>,
}

#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Times {
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
    pub runs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    Count(u64),
    PerSecond(f64),
    Ratio(f64),
    Bytes(i64),
    Nanos(u64),
}

/// A limit and what was measured.
#[derive(Debug, serde::Serialize)]
pub struct Goal {
    pub what: String,
    pub is: f64,
    /// `None`: only an aim.
    pub must: Option<f64>,
    pub aim: Option<f64>,
    pub verdict: &'static str,
}

impl Finding {
    pub fn new(id: impl Into<String>, contender: &'static str) -> Finding {
        Finding {
            id: id.into(),
            contender,
            times: None,
            beside: None,
            figures: Vec::new(),
            note: String::new(),
            goals: Vec::new(),
        }
    }

    pub fn times(mut self, spread: Spread) -> Finding {
        if spread.runs > 0 {
            self.times = Some(Times {
                p50_ns: spread.p50,
                p99_ns: spread.p99,
                max_ns: spread.max,
                runs: spread.runs,
            });
        }
        self
    }

    pub fn figure(mut self, name: &'static str, figure: Figure) -> Finding {
        self.figures.push((name, figure));
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Finding {
        self.note = note.into();
        self
    }

    pub fn goal(mut self, goal: Goal) -> Finding {
        self.goals.push(goal);
        self
    }
}

impl Goal {
    /// Shown, not judged.
    pub fn none(what: String, is: f64) -> Goal {
        Goal {
            what,
            is,
            must: None,
            aim: None,
            verdict: "",
        }
    }

    pub fn at_most(what: impl Into<String>, is: f64, must: f64, aim: f64) -> Goal {
        Goal::judged(what.into(), is, must, aim, |limit| is <= limit)
    }

    pub fn at_least(what: impl Into<String>, is: f64, must: f64, aim: f64) -> Goal {
        Goal::judged(what.into(), is, must, aim, |limit| is >= limit)
    }

    fn judged(what: String, is: f64, must: f64, aim: f64, holds: impl Fn(f64) -> bool) -> Goal {
        let verdict = match (holds(aim), holds(must)) {
            (true, _) => "reached",
            (false, true) => "aim missed",
            // What could not be measured (NaN) is not reached either.
            (false, false) => "MISSED",
        };
        Goal {
            what,
            is,
            must: must.is_finite().then_some(must),
            aim: Some(aim),
            verdict,
        }
    }
}

impl Figure {
    fn json(self) -> serde_json::Value {
        match self {
            Figure::Count(n) | Figure::Nanos(n) => n.into(),
            Figure::Bytes(n) => n.into(),
            Figure::PerSecond(x) | Figure::Ratio(x) => x.into(),
        }
    }

    pub fn text(self) -> String {
        match self {
            Figure::Count(n) => n.to_string(),
            Figure::PerSecond(x) => format!("{x:.0}"),
            Figure::Ratio(x) => format!("{x:.2}"),
            Figure::Bytes(n) => format!("{:.1} MiB", n as f64 / f64::from(1 << 20)),
            Figure::Nanos(n) => super::time(n),
        }
    }
}

fn as_map<S: Serializer>(
    figures: &[(&'static str, Figure)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(figures.len()))?;
    for (name, figure) in figures {
        map.serialize_entry(name, &figure.json())?;
    }
    map.end()
}
