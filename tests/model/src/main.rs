//! `make model`: every configuration as far as the limits allow, and every rule taken out once.
//!
//!     ordain-model                  all, as a table
//!     ordain-model 'three changes'  one configuration, here
//!     ordain-model without N4       what goes wrong without each rule of that number, step by step
//!
//! Each row of the table is a process of its own, so that its memory is its own too.

use std::process::{Command, ExitCode};
use std::time::Duration;

use ordain_model::r4::{Clause, Levels};
use ordain_model::{Config, Limit, Rule, check, removals, runs};
use stateright::{Checker, Model};

/// Keeps the widest run below 4 GiB.
const LIMIT: Limit = Limit {
    steps: 50_000_000,
    time: Duration::from_secs(10 * 60),
    threads: 2,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let good = match *arguments.as_slice() {
        [] => everything(),
        ["without", number] => without(number),
        [name] => match runs::all().into_iter().find(|run| run.name == name) {
            Some(run) => row(&run),
            None => {
                let names: Vec<_> = runs::all().iter().map(|run| run.name).collect();
                eprintln!(
                    "no such configuration; there are:\n  {}",
                    names.join("\n  ")
                );
                false
            }
        },
        _ => {
            eprintln!("ordain-model [CONFIGURATION | without NUMBER]");
            false
        }
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn everything() -> bool {
    println!("All rules in place, promises S, T, M, F, X, L. `all`: every reachable state.\n");
    println!("| configuration | states | depth | result | seconds | MiB |");
    println!("|---|---|---|---|---|---|");
    let mut good = true;
    for run in runs::all() {
        let exe = std::env::current_exe();
        let status = exe.and_then(|exe| Command::new(exe).arg(run.name).status());
        good &= status.is_ok_and(|status| status.success());
    }
    good &= levels();
    println!("\nOne rule taken out.\n");
    println!("| rule | promise | states to the first violation |");
    println!("|---|---|---|");
    for rule in Rule::ALL {
        for (promise, config) in removals::without(rule) {
            let outcome = check(&config, LIMIT);
            let found = !outcome.broken.is_empty();
            let (rule, promise, states) = (rule.text(), promise.name(), outcome.states);
            println!(
                "| {rule} | {promise} | {}{} |",
                grouped(states),
                if found { "" } else { ", NONE FOUND" }
            );
            good &= found;
        }
    }
    good
}

/// Runs one configuration and prints its row, and what broke if something did.
fn row(config: &Config) -> bool {
    let outcome = check(config, LIMIT);
    let good = outcome.broken.is_empty();
    let result = match (good, outcome.all) {
        (true, true) => "holds, all",
        (true, false) => "none found, capped",
        (false, _) => "BROKEN",
    };
    println!(
        "| {} | {} | {} | {result} | {} | {} |",
        config.name,
        grouped(outcome.states),
        outcome.depth,
        outcome.time.as_secs(),
        peak_memory()
    );
    for (promise, steps) in &outcome.broken {
        println!("\n{promise} is broken by:");
        steps.iter().for_each(|step| println!("  {step:?}"));
    }
    good
}

fn levels() -> bool {
    let mut good = true;
    let clauses = [
        None,
        Some(Clause::AsOf),
        Some(Clause::NoMixture),
        Some(Clause::OneStatement),
    ];
    for without in clauses {
        let checker = Levels { without }.checker().spawn_bfs().join();
        let broken = checker.discovery("R4").is_some();
        let name = without.map_or_else(String::new, |clause| format!(" without {clause:?}"));
        println!(
            "| two records in one answer (R4){name} | {} | {} | {} | | |",
            grouped(checker.unique_state_count()),
            checker.max_depth(),
            if broken { "broken" } else { "holds, all" }
        );
        good &= broken == without.is_some();
    }
    good
}

fn without(number: &str) -> bool {
    let rules = Rule::ALL.into_iter();
    let rules: Vec<_> = rules.filter(|r| r.text().starts_with(number)).collect();
    for rule in &rules {
        for (promise, config) in removals::without(*rule) {
            let outcome = check(
                &config,
                Limit {
                    threads: 1,
                    ..LIMIT
                },
            );
            println!("{}: {} is broken by", rule.text(), promise.name());
            let steps = outcome.broken.iter().flat_map(|(_, steps)| steps);
            steps.for_each(|step| println!("  {step:?}"));
        }
    }
    !rules.is_empty()
}

/// Most memory that this process ever had, in MiB; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// 1234567 as 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
