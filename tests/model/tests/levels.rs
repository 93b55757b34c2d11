//! Rule R4: one answer of several records.

use ordain_model::r4::{Clause, Levels};
use stateright::{Checker, Model};

#[test]
fn an_answer_of_two_records_is_the_state_at_the_revision_that_it_claims() {
    let checker = Levels::default().checker().spawn_bfs().join();
    assert!(checker.is_done());
    assert!(checker.discoveries().is_empty());
    assert!(checker.unique_state_count() > 5_000);
}

#[test]
fn without_a_clause_of_r4_two_records_may_be_of_different_states() {
    for clause in [Clause::AsOf, Clause::NoMixture, Clause::OneStatement] {
        let without = Some(clause);
        let checker = Levels { without }.checker().spawn_bfs().join();
        assert!(
            checker.discovery("R4").is_some(),
            "{clause:?} was taken out and nothing broke"
        );
    }
}
