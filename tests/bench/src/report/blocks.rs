//! The report as titled tables of text, whatever they are then shown as.

use super::finding::{Figure, Finding, Goal, Section};
use super::{Report, Row, time};

/// The first row of a table is its heading; the first column names what the row is about.
pub struct Block {
    pub title: &'static str,
    pub text: String,
    pub table: Vec<Vec<String>>,
    pub notes: Vec<String>,
}

pub fn all(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !report.rows.is_empty() {
        blocks.push(calls(&report.rows));
    }
    blocks.extend(report.sections.iter().map(section));
    let goals: Vec<Goal> = report.ratios();
    let findings = report.sections.iter().flat_map(|s| &s.findings);
    let goals: Vec<&Goal> = goals
        .iter()
        .chain(findings.flat_map(|finding| &finding.goals))
        .collect();
    if !goals.is_empty() {
        blocks.push(verdicts(&goals));
    }
    blocks
}

fn calls(rows: &[Row]) -> Block {
    let mut table = vec![heading(["call", "p50", "p99", "calls"])];
    table.extend(rows.iter().map(|row| {
        vec![
            row.id.to_owned(),
            time(row.p50_ns),
            time(row.p99_ns),
            row.runs.to_string(),
        ]
    }));
    Block {
        title: "Single calls",
        text: String::new(),
        table,
        notes: Vec::new(),
    }
}

fn section(section: &Section) -> Block {
    let findings = &section.findings;
    let timed = findings.iter().any(|finding| finding.times.is_some());
    // Every column that some contender has a figure for, in the order in which they come up.
    let mut columns: Vec<&'static str> = Vec::new();
    for (name, _) in findings.iter().flat_map(|finding| &finding.figures) {
        if !columns.contains(name) {
            columns.push(*name);
        }
    }
    let mut head = heading(["workload", "contender"]);
    if timed {
        head.extend(heading(["p50", "p99", "max", "runs"]));
    }
    head.extend(columns.iter().map(|name| (*name).to_owned()));
    let mut table = vec![head];
    table.extend(findings.iter().map(|f| line(f, timed, &columns)));
    let notes = findings.iter().filter(|finding| !finding.note.is_empty());
    Block {
        title: section.title,
        text: section.method.clone(),
        table,
        notes: notes
            .map(|finding| format!("{}, {}: {}", finding.id, finding.contender, finding.note))
            .collect(),
    }
}

fn line(finding: &Finding, timed: bool, columns: &[&'static str]) -> Vec<String> {
    let mut cells = vec![finding.id.clone(), finding.contender.to_owned()];
    if timed {
        cells.extend(match finding.times {
            Some(times) => [
                time(times.p50_ns),
                time(times.p99_ns),
                time(times.max_ns),
                times.runs.to_string(),
            ],
            None => [const { String::new() }; 4],
        });
    }
    cells.extend(columns.iter().map(|column| {
        let found = finding.figures.iter().find(|(name, _)| name == column);
        found.map_or_else(String::new, |(_, figure)| Figure::text(*figure))
    }));
    cells
}

fn verdicts(goals: &[&Goal]) -> Block {
    let mut table = vec![heading(["goal", "is", "must", "aim", ""])];
    table.extend(goals.iter().map(|goal| {
        let limit = |limit: Option<f64>| limit.map_or_else(String::new, number);
        vec![
            goal.what.clone(),
            number(goal.is),
            limit(goal.must),
            limit(goal.aim),
            goal.verdict.to_owned(),
        ]
    }));
    Block {
        title: "Goals",
        text: String::new(),
        table,
        notes: Vec::new(),
    }
}

fn number(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() >= 10.0 || x == 0.0 {
        format!("{x:.0}")
    } else {
        format!("{x:.2}")
    }
}

fn heading<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}
