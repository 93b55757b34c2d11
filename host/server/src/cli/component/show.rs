//! How components are shown to people. Not for what is asked.

use serde_json::Value;

use crate::cli::output::{self, cell};
use crate::cli::reply::Failure;

/// Samples of differing answers that are shown; `--json` has them all.
const SAMPLES: usize = 5;

/// Digest, size, imports and exports.
pub fn info(info: &Value) -> Result<(), Failure> {
    let mut rows = some(info, &["digest", "size"]);
    rows.push(row("can do", names(&info["capabilities"])));
    for (name, list) in [("import", "imports"), ("export", "exports")] {
        let items = info[list].as_array().into_iter().flatten();
        rows.extend(items.map(|item| row(name, cell(item))));
    }
    output::table(&["", ""], &rows)
}

pub fn change(answer: &Value) -> Result<(), Failure> {
    let (digest, revision) = (cell(&answer["digest"]), cell(&answer["revision"]));
    let what = match answer["state"].as_str() {
        Some("candidate") => format!("{digest} is the candidate and answers in the shadow"),
        Some("promoted") => format!("{digest} is promoted"),
        Some("rolled-back") => format!("rolled back to {digest}"),
        _ => format!("{digest} is withdrawn"),
    };
    let done = match answer["done"].as_bool() {
        Some(true) => "",
        _ => "; not carried out here (yet): see `ordain component status`",
    };
    output::line(&format!("{what}, revision {revision}{done}"))
}

pub fn check(page: &Value) -> Result<(), Failure> {
    let mut rows = some(page, &["digest"]);
    rows.push(row(
        "vectors",
        format!("{} answered as they must be", cell(&page["vectors"])),
    ));
    if let Some(records) = page["records"].as_u64() {
        rows.push(row("records", format!("{records} shown")));
    }
    let invalid = page["invalid"].as_array().into_iter().flatten();
    for found in invalid {
        let faults = found["errors"].as_array().into_iter().flatten();
        let faults: Vec<String> = faults
            .map(|fault| format!("{} {}", cell(&fault["pointer"]), cell(&fault["message"])))
            .collect();
        rows.push(row(
            "refused",
            format!(
                "the record of {}: {}",
                cell(&found["tenant"]),
                faults.join(", ")
            ),
        ));
    }
    output::table(&["", ""], &rows)
}

pub fn status(report: &Value) -> Result<(), Failure> {
    let mut rows = vec![row(
        "running",
        format!(
            "{} ({}), from {}, since {}",
            cell(&report["digest"]),
            names(&report["capabilities"]),
            match report["from"].as_str() {
                Some("fleet") => "the fleet",
                _ => "its file",
            },
            cell(&report["since"])
        ),
    )];
    let fleet = &report["fleet"];
    rows.push(row(
        "fleet wants",
        match fleet["current"].as_str() {
            Some("file") | None => "what each instance has in its file".to_owned(),
            Some(digest) => digest.to_owned(),
        },
    ));
    if !fleet["previous"].is_null() {
        rows.push(row("before it", cell(&fleet["previous"])));
    }
    for trouble in report["trouble"].as_array().into_iter().flatten() {
        rows.push(row(
            "trouble",
            format!("{}: {}", cell(&trouble["digest"]), cell(&trouble["error"])),
        ));
    }
    let watch = &report["watch"];
    if !watch.is_null() {
        rows.push(row(
            "watched",
            format!(
                "for {} s more, {} of {} faults; {} stands by",
                watch["endsInMs"].as_u64().unwrap_or(0) / 1000,
                cell(&watch["faults"]),
                cell(&watch["limit"]),
                cell(&watch["good"])
            ),
        ));
        if !watch["lastFault"].is_null() {
            let (call, fault) = (&watch["lastFaultAt"], &watch["lastFault"]);
            rows.push(row(
                "last fault",
                format!("{}: {}", cell(call), cell(fault)),
            ));
        }
    }
    let by_capability = counts(&report["faultsByCapability"]);
    let faults = counts(&report["faults"]);
    rows.push(row(
        "faults",
        format!("{faults} (by capability: {by_capability})"),
    ));
    candidate(&report["candidate"], &mut rows);
    output::table(&["", ""], &rows)
}

fn candidate(candidate: &Value, rows: &mut Vec<Vec<String>>) {
    if candidate.is_null() {
        return;
    }
    let share = candidate["share"].as_f64().unwrap_or(1.0) * 100.0;
    let after = match candidate["promoteAfter"].as_u64() {
        Some(count) => format!(", promoted after {count} equal answers"),
        None => String::new(),
    };
    rows.push(row(
        "candidate",
        format!(
            "{}, {share} % of the requests{after}",
            cell(&candidate["digest"])
        ),
    ));
    if candidate["state"] == "failed" {
        rows.push(row(
            "",
            "has failed too often and is asked no more".to_owned(),
        ));
    }
    let numbers = [
        "compared",
        "equal",
        "different",
        "failed",
        "skipped",
        "dropped",
    ];
    let numbers: Vec<String> = numbers
        .iter()
        .map(|name| format!("{} {name}", cell(&candidate[*name])))
        .collect();
    rows.push(row("answers", numbers.join(", ")));
    let by_capability = candidate["byCapability"].as_object();
    for (name, tally) in by_capability.into_iter().flatten() {
        rows.push(row("", format!("{name}: {}", counts(tally))));
    }
    if let Some(differences) = candidate["differences"].as_object()
        && !differences.is_empty()
    {
        rows.push(row("differences", counts(&candidate["differences"])));
    }
    let samples = candidate["samples"].as_array().into_iter().flatten();
    for sample in samples.take(SAMPLES) {
        let fields = sample["fields"].as_array().into_iter().flatten();
        let fields: Vec<String> = fields
            .map(|d| {
                format!(
                    "{} {} -> {}",
                    cell(&d["field"]),
                    d["current"],
                    d["candidate"]
                )
            })
            .collect();
        let mut asked = cell(&sample["call"]);
        for (name, before) in [("tenant", " "), ("task", " task ")] {
            if let Some(value) = sample[name].as_str() {
                asked += &format!("{before}{value}");
            }
        }
        rows.push(row("sample", format!("{asked}: {}", fields.join(", "))));
    }
}

/// The texts of a list.
fn names(list: &Value) -> String {
    let names = list.as_array().into_iter().flatten();
    names.map(cell).collect::<Vec<_>>().join(", ")
}

/// Members of an object with their numbers.
fn counts(object: &Value) -> String {
    let members = object.as_object().into_iter().flatten();
    let members: Vec<String> = members.map(|(name, n)| format!("{n} {name}")).collect();
    members.join(", ")
}

fn some(object: &Value, names: &[&str]) -> Vec<Vec<String>> {
    names
        .iter()
        .map(|name| row(name, cell(&object[*name])))
        .collect()
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}
