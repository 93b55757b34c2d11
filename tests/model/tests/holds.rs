//! The protocol with all its rules keeps its promises, as far as can be explored within seconds: the
//! configurations of `make model` with one change of the key and at most one fault.

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

#[test]
fn in_every_configuration_nothing_is_broken_soon() {
    let outcomes = runs::all().into_iter().map(|run| {
        let outcome = explore(&small(run), 1_000_000);
        usize::from(outcome.all)
    });
    // Less would say that the model has grown, or that a run does not get anywhere.
    let exhausted: usize = outcomes.sum();
    assert!(exhausted >= 12, "only {exhausted} were explored in full");
}

/// The other half of the tests in `rules.rs`: it is the missing rule that breaks the promise.
#[test]
fn where_a_missing_rule_breaks_a_promise_the_rule_keeps_it() {
    for rule in Rule::ALL {
        explore(&removals::shows(rule), 250_000);
    }
}

/// N5 makes a host notice a lost history at once; its feed would notice within the bound anyway.
#[test]
fn without_n5_nothing_is_broken_soon() {
    let config = Config {
        rules: ordain_model::Rules::without(Rule::ReplyBelow),
        ..removals::shows(Rule::ReplyBelow)
    };
    explore(&config, 1_000_000);
}
