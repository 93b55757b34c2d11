//! The result as a table for people and as `result.json` for programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// One contender. Later measurements add rows; those that are here keep their names.
#[derive(Debug, serde::Serialize)]
pub struct Row {
    pub id: &'static str,
    pub p50_ns: u64,
    pub p99_ns: u64,
    /// Measured calls.
    pub runs: usize,
    /// Own p50 divided by that of the peer, by the peer's id.
    pub ratios: BTreeMap<&'static str, f64>,
}

/// DESIGN section 8: the ratio that a row must not exceed, and the one that it aims at.
const GOALS: [(&str, &str, f64, f64); 5] = [
    ("near_hit", "cedar", 0.6, 0.6),
    ("near_hit", "regorus", 0.3, 0.3),
    ("near_hit", "native", f64::INFINITY, 5.0),
    ("far_hit", "redis_get", 1.25, 1.1),
    ("origin_read", "sqlx_query", 1.25, 1.1),
];

pub fn print(rows: &[Row]) {
    println!("{:<12} {:>12} {:>12} {:>9}", "", "p50", "p99", "calls");
    for row in rows {
        println!(
            "{:<12} {:>12} {:>12} {:>9}",
            row.id,
            time(row.p50_ns),
            time(row.p99_ns),
            row.runs
        );
    }
    println!(
        "\n{:<26} {:>7} {:>7} {:>7}",
        "ratio of p50", "is", "must", "aim"
    );
    for row in rows {
        for (peer, ratio) in &row.ratios {
            let goal = GOALS
                .iter()
                .find(|(id, other, ..)| *id == row.id && other == peer);
            let (must, aim, verdict) = match goal {
                None => (String::new(), String::new(), ""),
                Some((.., must, aim)) if ratio <= aim => (bound(*must), bound(*aim), "reached"),
                Some((.., must, aim)) if ratio <= must => (bound(*must), bound(*aim), "aim missed"),
                Some((.., must, aim)) => (bound(*must), bound(*aim), "MISSED"),
            };
            let name = format!("{} / {peer}", row.id);
            println!("{name:<26} {ratio:>7.2} {must:>7} {aim:>7}  {verdict}");
        }
    }
}

fn bound(limit: f64) -> String {
    if limit.is_finite() {
        format!("{limit:.2}")
    } else {
        "-".to_owned()
    }
}

fn time(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        _ => format!("{:.1} ms", nanos as f64 / 1e6),
    }
}

pub fn write(rows: &[Row], folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("result.json");
    let text = serde_json::to_string_pretty(rows)? + "\n";
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
