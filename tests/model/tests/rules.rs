//! Each rule is needed: without it, a promise breaks. So the model can fail, and fails for the
//! reason that the rule names.

use std::time::Duration;

use ordain_model::{Limit, Rule, Rules, check, removals};

const LIMIT: Limit = Limit {
    steps: 6_000_000,
    time: Duration::from_secs(120),
    threads: 1,
};

/// Takes out each rule of a section and looks for the promise that must break.
fn each_is_needed(section: char) {
    let rules = Rule::ALL.into_iter().filter(|r| r.section() == section);
    let mut count = 0;
    for rule in rules {
        for (promise, config) in removals::without(rule) {
            let outcome = check(&config, LIMIT);
            let broken: Vec<_> = outcome.broken.iter().map(|(name, _)| *name).collect();
            assert_eq!(
                broken,
                [promise.name()],
                "without {rule:?} ({}), after {} states",
                rule.text(),
                outcome.states
            );
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn without_a_rule_of_the_origin_a_promise_breaks() {
    each_is_needed('O');
}

#[test]
fn without_a_rule_of_the_feed_a_promise_breaks() {
    each_is_needed('F');
}

#[test]
fn without_the_test_of_the_window_a_promise_breaks() {
    each_is_needed('V');
}

#[test]
fn without_a_rule_of_near_a_promise_breaks() {
    each_is_needed('N');
}

#[test]
fn without_a_rule_of_far_a_promise_breaks() {
    each_is_needed('A');
}

#[test]
fn without_a_rule_of_answers_a_promise_breaks() {
    each_is_needed('R');
}

#[test]
fn every_rule_but_n5_has_a_promise_that_needs_it() {
    for rule in Rule::ALL {
        let needed = !removals::without(rule).is_empty();
        assert_eq!(needed, rule != Rule::ReplyBelow, "{rule:?}");
        assert_eq!(removals::shows(rule).rules, Rules::ALL);
    }
}
