//! The protocol with all its rules keeps its promises, as far as can be explored within seconds:
//! the configurations of `make model`, with one change of the key and at most one fault.

use std::time::Duration;

use ordain_model::{Config, Limit, Outcome, Rule, check, removals, runs};

fn explore(config: &Config, steps: usize) -> Outcome {
    let limit = Limit {
        steps,
        time: Duration::from_secs(120),
        threads: 1,
    };
    let outcome = check(config, limit);
    assert!(
        outcome.broken.is_empty(),
        "{}: {:#?}",
        config.name,
        outcome.broken
    );
    outcome
}

fn small(run: Config) -> Config {
    Config {
        commits: 1,
        faults: run.faults.min(1),
        ..run
    }
}

/// Breadth first: what a few steps can break, however many configurations there are.
#[test]
fn in_every_configuration_nothing_is_broken_soon() {
    for run in runs::all() {
        explore(&small(run), 150_000);
    }
}

#[test]
fn one_change_is_safe_in_every_order_of_steps() {
    for name in [
        "three changes",
        "pruned log",
        "far lost or rewound, two faults",
    ] {
        let run = runs::all().into_iter().find(|run| run.name == name);
        let run = run.expect("a configuration of make model");
        assert!(explore(&small(run), 3_000_000).all, "{name}");
    }
}

/// The other half of the tests in `rules.rs`: it is the missing rule that breaks the promise.
#[test]
fn where_a_missing_rule_breaks_a_promise_the_rule_keeps_it() {
    for rule in Rule::ALL {
        explore(&removals::shows(rule), 100_000);
    }
}

/// N5 makes a host notice a lost history at once; its feed would notice within the bound anyway.
#[test]
fn without_n5_nothing_is_broken_soon() {
    let config = Config {
        rules: ordain_model::Rules::without(Rule::ReplyBelow),
        ..removals::shows(Rule::ReplyBelow)
    };
    explore(&config, 500_000);
}
