//! The result: what was measured, by contender and by workload, and what it should have been. As
//! text for a terminal and as Markdown for documents (`text`, both from the same `blocks`), and as
//! JSON for programs. Measures nothing.

mod blocks;
mod chart;
mod finding;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

pub use finding::{Figure, Finding, Goal, Section};

/// One contender of a comparison of single calls. Later measurements add rows; those that are here
/// keep their names.
#[derive(Debug, serde::Serialize)]
pub struct Row {
    pub id: &'static str,
    pub p50_ns: u64,
    pub p99_ns: u64,
    /// Measured calls.
    pub runs: usize,
    /// Own p50 divided by that of the peer, by the peer's id.
    pub ratios: BTreeMap<&'static str, f64>,
    /// The same of the p99.
    pub ratios_p99: BTreeMap<&'static str, f64>,
}

/// DESIGN section 8: the ratio that a row must not exceed, and the one that it aims at.
const GOALS: [(&str, &str, f64, f64); 6] = [
    ("near_hit", "cedar", 0.6, 0.6),
    ("near_hit", "regorus", 0.3, 0.3),
    ("near_hit", "native", f64::INFINITY, 5.0),
    ("largest_record", "near_hit", 20.0, 5.0),
    ("far_hit", "redis_get", 1.25, 1.1),
    ("origin_read", "sqlx_query", 1.25, 1.1),
];

/// All that one run measured.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub sections: Vec<Section>,
}

impl Report {
    pub fn print(&self) {
        print!("{}", text::terminal(&blocks::all(self)));
    }

    /// Writes `result.json`, `result.md` and `result.svg`; returns their places.
    pub fn write(&self, folder: &Path) -> anyhow::Result<[PathBuf; 3]> {
        let files = ["json", "md", "svg"].map(|kind| folder.join(format!("result.{kind}")));
        let json = serde_json::to_string_pretty(&self.json()?)? + "\n";
        let markdown = text::markdown(&blocks::all(self));
        std::fs::create_dir_all(folder)?;
        for (file, text) in files.iter().zip([json, markdown, chart::svg(&self.bars())]) {
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(files)
    }

    /// One list: rows of single calls, then findings.
    fn json(&self) -> anyhow::Result<Vec<Value>> {
        let mut entries = Vec::new();
        for row in &self.rows {
            entries.push(serde_json::to_value(row)?);
        }
        for finding in self.sections.iter().flat_map(|section| &section.findings) {
            entries.push(serde_json::to_value(finding)?);
        }
        Ok(entries)
    }

    /// Everything that has a peer, in the order of the tables.
    fn bars(&self) -> Vec<chart::Bar> {
        let bar = |what: &str, peer: &str, ratio| chart::Bar {
            label: format!("{what} / {peer}").replace('_', " "),
            ratio,
        };
        let calls = self.rows.iter().flat_map(|row| {
            let ratios = row.ratios.iter();
            ratios.map(move |(peer, ratio)| bar(row.id, peer, *ratio))
        });
        let findings = self.sections.iter().flat_map(|section| &section.findings);
        let found = findings.filter_map(|finding| {
            let (peer, ratio) = finding.beside?;
            Some(bar(&finding.id, peer, ratio))
        });
        calls.chain(found).collect()
    }

    /// The goals of single calls; those of the sections belong to their findings.
    fn ratios(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for row in &self.rows {
            for (peer, ratio) in &row.ratios {
                let what = format!("{} / {peer}", row.id);
                let known = GOALS
                    .iter()
                    .find(|(id, other, ..)| *id == row.id && other == peer);
                goals.push(match known {
                    None => Goal::none(what, *ratio),
                    Some((.., must, aim)) => Goal::at_most(what, *ratio, *must, *aim),
                });
            }
            for (peer, ratio) in &row.ratios_p99 {
                goals.push(Goal::none(format!("{} / {peer}, p99", row.id), *ratio));
            }
        }
        goals
    }
}

fn time(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        _ => format!("{:.1} ms", nanos as f64 / 1e6),
    }
}
